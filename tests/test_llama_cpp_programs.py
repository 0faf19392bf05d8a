"""Programs for llama-cpp-python run once their import names `qrt.compat` instead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from qrt.config import embedded_model

PROGRAMS = Path(__file__).parent / "llama_cpp_programs"


def run(name: str, text: str = "") -> list[str]:
    """The lines that a program prints."""
    source = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    changed = source.replace("from llama_cpp import", "from qrt.compat.llama_cpp import")
    changed = changed.replace("import llama_cpp\n", "from qrt.compat import llama_cpp\n")
    assert changed.count("qrt.compat") == 1
    command = [sys.executable, "-W", "error", "-c", changed, str(embedded_model())]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_completion_is_what_its_stream_gives() -> None:
    (line,) = run("completion")
    *parts, last = map(json.loads, run("streaming"))
    (choice,) = json.loads(line)["choices"]
    assert choice["text"] == "def area(r):" + "".join(p["choices"][0]["text"] for p in parts)
    assert choice["finish_reason"] == last["choices"][0]["finish_reason"]


def test_a_chat() -> None:
    told = run("chat", "What does os.path.join do?\nWhat does str.split do?\n")
    assert len(told) == 2
    assert told[0].startswith("`os.path.join(a, *p)`: Join two or more pathname components")
    assert told[1].startswith("`str.split(sep=None, maxsplit=-1)`: Return a list")


def test_log_probabilities() -> None:
    (line,) = run("logprobs")
    logprobs = json.loads(line)
    assert {len(part) for part in logprobs.values()} == {6}
    assert logprobs["text_offset"][0] == len("def area(r):")
