"""The `qrt` command through its front door: answers, bad inputs, exit codes, start-up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import qrt
from qrt.cli.app import app
from qrt.cli.arguments import looks_like_model, model_and_text, model_file, unescape
from qrt.errors import InputError, ModelError
from qrt.formats.gguf import open_gguf
from qrt.formats.writer import write_gguf

EMBEDDED = model_file(None)
QRT = [sys.executable, "-m", "qrt"]
ENDLESS = ("--ignore-eos", "--context-shift", "-t", "1")


def invoke(*args, piped=""):
    return CliRunner().invoke(app, [str(arg) for arg in args], input=piped)


def rewritten(path, *, metadata=None, reshape=None):
    """The embedded model with other metadata, or a tensor cut to its first rows."""
    with open_gguf(EMBEDDED) as file:
        changed = dict(file.metadata) | (metadata or {})
        tensors = []
        for t in file.tensors.values():
            shape, data = t.shape, t.data
            if t.name == reshape:
                shape, data = (shape[0] // 2, *shape[1:]), data[: len(data) // 2]
            tensors.append((t.name, t.qtype, shape, data.tobytes()))
        write_gguf(path, changed, tensors)
    return path


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Compiles what is missing now: a command would tell of it on standard error."""
    qrt.load().close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files that are no good, by name."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "truncated.gguf").write_bytes(EMBEDDED.read_bytes()[:200_000])
    (folder / "text.gguf").write_text("Once upon a time\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    rewritten(folder / "arch.gguf", metadata={"general.architecture": "abacus"})
    rewritten(folder / "shape.gguf", reshape="blk.1.ffn_up.weight")
    return folder


BAD_INPUTS = {
    "truncated file": (["run", "{}/truncated.gguf", "hi"], 3, "truncated or corrupt"),
    "text file": (["run", "{}/text.gguf", "hi"], 3, "not a GGUF file"),
    "wrong architecture": (["run", "{}/arch.gguf", "hi"], 3, "abacus"),
    "wrong shape": (["run", "{}/shape.gguf", "hi"], 3, "blk.1.ffn_up.weight"),
    "missing file": (["run", "{}/none.gguf", "hi"], 3, "no such file"),
    "missing file alone": (["run", "none.gguf"], 3, "none.gguf: no such file"),
    "directory": (["run", "{}", "hi"], 3, "is a directory"),
    "empty prompt": (["run", ""], 2, "prompt is empty"),
    "empty pipe": (["complete"], 2, "prompt is empty"),
    "long prompt": (["run", "word " * 2000], 2, "the context holds"),
    "no threads": (["run", "hi", "-t", "0"], 2, "n_threads must be between 1"),
    "no tokens": (["complete", "-p", "hi", "-n", "0"], 2, "max_tokens must be between 1"),
    "large context": (["run", "hi", "-c", "1000000"], 2, "the model was trained for"),
    "sampling": (["run", "hi", "--top-p", "7"], 2, "top_p must be between 0 and 1"),
    "two models": (["run", "a.gguf", "b", "-m", "c.gguf"], 2, "MODEL is given twice"),
    "two prompts": (["run", "hello", "-p", "you"], 2, "prompt is given twice"),
    "no prompt file": (["complete", "-f", "{}/none.txt"], 2, "none.txt: cannot be read"),
    "prompt not text": (["complete", "-f", "{}/latin.txt"], 2, "is not UTF-8 text (byte 3)"),
    "tokenize truncated": (["tokenize", "{}/truncated.gguf", "hi"], 3, "truncated or corrupt"),
    "info text": (["info", "{}/text.gguf"], 3, "not a GGUF file"),
    "run kv": (["run", "hi", "-ctv", "q9"], 2, "got 'f16,q9'"),
    "info kv": (["info", "--kv-type", "q8"], 2, "kv_type must be one of f16, f32, q8_0"),
    "bench list": (["bench", "-p", "1-x"], 2, "-p: expected numbers"),
    "bench range": (["bench", "-p", "0-8*2"], 2, "never ends"),
    "bench nothing": (["bench", "-p", "0", "-n", "0"], 2, "nothing to measure"),
    "bench format": (["bench", "-o", "sql"], 2, "-o must be one of md, json, jsonl, csv"),
    "bench threads": (["bench", "-t", "0"], 2, "n_threads must be between 1"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input_is_one_line_and_an_exit_code(name, files):
    args, code, message = BAD_INPUTS[name]
    result = invoke(*(arg.format(files) for arg in args))
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize("args", [["run", "--bogus"], ["run", "a", "b", "c"], ["no-such-command"]])
def test_wrong_usage_is_exit_code_2(args):
    result = invoke(*args)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_an_answer_is_all_there_is_on_stdout_and_its_seed_repeats_it():
    chance = ("-n", "12", "--temp", "5", "--top-p", "1", "--min-p", "0")
    first = invoke("run", "def main(", *chance, "-s", "7")
    again = invoke("run", *chance, "--seed", "7", piped="def main(\n")
    other = invoke("run", "def main(", *chance, "-s", "8")
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.strip()
    assert first.stdout == again.stdout
    assert first.stdout != other.stdout


def test_complete_continues_the_text_as_it_stands(tmp_path):
    greedy = ("--temp", "0", "-n", "8")
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("import os\nimport \n")
    from_file = invoke("complete", EMBEDDED, "-f", prompt, *greedy)
    escaped = invoke("complete", "-m", EMBEDDED, "-e", "-p", r"import os\nimport ", *greedy)
    assert (from_file.exit_code, from_file.stderr) == (0, "")
    assert from_file.stdout == escaped.stdout
    stop = from_file.stdout[3:5]
    stopped = invoke("complete", "-p", "import os\nimport ", *greedy, "-r", stop)
    assert stopped.stdout == from_file.stdout.partition(stop)[0]


def test_timings_are_for_stderr():
    result = invoke("complete", "-p", "def ", "-n", "3", "--timings")
    assert "tok/s" in result.stderr
    assert "tok/s" not in result.stdout


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((None, None, None), (None, None)),
        (("write a poem", None, None), (None, "write a poem")),
        (("input and/or output", None, None), (None, "input and/or output")),
        (("</s>", None, None), (None, "</s>")),
        (("Note: this", None, None), (None, "Note: this")),
        (("note:this", None, None), (None, "note:this")),
        ((__file__, None, None), (__file__, None)),
        ((__file__, ["hi"], None), (__file__, "hi")),
        (("hi", None, __file__), (__file__, "hi")),
    ],
)
def test_which_argument_is_the_model(args, expected):
    assert model_and_text(*args) == expected


def test_a_mistyped_path_is_not_a_prompt():
    assert looks_like_model("no/such/file")
    for name in ("model.gguf", "no/such/file"):
        with pytest.raises(ModelError, match=f"{name}: no such file"):
            model_and_text(name, None, None)
    with pytest.raises(InputError, match="twice"):
        model_and_text(__file__, ["hi"], __file__)


def test_escapes():
    assert unescape(r"a\n\t\\n\x41\q\"") == 'a\n\t\\nA\\q"'


def test_tokenize():
    lines = invoke("tokenize", "def main(self):").stdout.splitlines()
    assert lines[0] == "     1 -> '<s>'"
    ids = json.loads(invoke("tokenize", EMBEDDED, "def main(self):", "--ids").stdout)
    assert [int(line.split()[0]) for line in lines] == ids
    plain = invoke("tokenize", "--ids", "--no-special", piped="def main(self):\n").stdout
    assert json.loads(plain) == ids[1:]
    assert json.loads(invoke("tokenize", "--ids", "</s>").stdout) != [1, 2]
    assert json.loads(invoke("tokenize", "--ids", "--parse-special", "</s>").stdout) == [1, 2]


def test_info_tells_what_a_model_is_and_where_it_runs():
    found = json.loads(invoke("info", EMBEDDED, "--json").stdout)
    assert found["metadata"]["general.architecture"] == "llama"
    assert found["n_params"] == sum(t["n_params"] for t in found["tensors"])
    assert found["file_bytes"] == EMBEDDED.stat().st_size
    running = found["running"]
    assert set(running["placement"]) >= {"Embed", "Linear", "Attention"}
    text = invoke("info", EMBEDDED).stdout
    for part in ("general.architecture", " more)", "Q8_0", "cpu/", "matmul.Q8_0"):
        assert part in text


@pytest.mark.parametrize(
    ("flags", "kv_type", "n_bytes"),
    [
        ((), "f16", 64 + 64),
        (("--kv-type", "f32"), "f32", 128 + 128),
        (("--kv-type", "q4_0"), "q4_0", 18 + 18),
        (("--kv-type", "q8_0,q4_0"), "q8_0,q4_0", 34 + 18),
        (("-ctk", "q8_0"), "q8_0,f16", 34 + 64),
        (("-ctk", "q4_0", "--kv-type", "f32,q8_0"), "q4_0,q8_0", 18 + 34),
        (("--cache-type-k", "q8_0", "-ctv", "q8_0"), "q8_0", 34 + 34),
    ],
)
def test_types_of_keys_and_values(flags, kv_type, n_bytes):
    """32 keys and 32 values take `n_bytes`."""
    running = json.loads(invoke("info", EMBEDDED, "--json", *flags).stdout)["running"]
    n_values = 128 * running["n_layers"]
    assert running["kv_type"] == kv_type
    assert running["kv_bytes_per_token"] == n_values // 32 * n_bytes


def test_info_shows_a_model_that_cannot_run(files):
    result = invoke("info", files / "arch.gguf")
    assert result.exit_code == 3
    assert "pydoc" in result.stdout
    assert result.stderr.startswith("error: ")
    found = json.loads(invoke("info", files / "arch.gguf", "--json").stdout)
    assert found["running"] is None
    assert "abacus" in found["why_not"]


def test_doctor(monkeypatch):
    monkeypatch.setattr("qrt.backends.cpu.ceilings.measure_read_gb_s", lambda *_: 12.3)
    result = invoke("doctor", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["problems"]) == (0, [])
    assert found["tier"] in [tier["name"] for tier in found["tiers"] if not tier["why_not"]]
    assert {"name": "cuda", "why_not": "not included in this version"} in found["backends"]
    assert "12.3 GB/s" in found["checks"]["memory"]
    assert "yes, in use" in invoke("doctor").stdout


def test_doctor_names_what_is_wrong(monkeypatch):
    monkeypatch.setenv("QRT_ISA", "abacus")
    result = invoke("doctor")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: QRT_ISA")
    assert "Versions" in result.stdout


def test_help_and_answers_import_no_more_than_they_need():
    code = (
        "import sys; from qrt.cli import main; sys.argv = ['qrt', *{args}]\n"
        "try: main()\n"
        "finally: print([m for m in {libraries} if m in sys.modules], file=sys.stderr)"
    )
    never = ("numba", "rich", "prompt_toolkit", "torch", "gguf", "huggingface_hub", "httpx2")
    for args, libraries in (
        (["--help"], (*never, "numpy", "llvmlite", "pydantic", "jinja2")),
        (["run", str(EMBEDDED), "hi", "-n", "1"], (*never, "qrt.hub", "tomllib")),
    ):
        command = [sys.executable, "-c", code.format(args=args, libraries=libraries)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr.splitlines()[-1] == "[]"


def start(*args):
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*QRT, *args], text=True, **pipes)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_ctrl_c_ends_an_answer_quietly():
    with start("run", "hi", *ENDLESS) as process:
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")


def test_a_pipe_that_closes_ends_it_quietly():
    with start("complete", "-p", "hi", *ENDLESS) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.wait(timeout=20) == 141
        assert process.stderr.read() == ""


def test_the_version_is_that_of_the_package():
    assert invoke("--version").stdout == f"qrt {qrt.__version__}\n"


def test_python_m_qrt_returns_the_exit_code(tmp_path: Path):
    done = subprocess.run(
        [*QRT, "run", tmp_path / "none.gguf", "hi"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr == f"error: {tmp_path / 'none.gguf'}: no such file\n"
