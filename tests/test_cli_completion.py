"""What a shell offers after Tab: commands, flags, and the names of models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from qrt.cli.completion import joined_at_colons

QRT = [sys.executable, "-m", "qrt"]


@pytest.fixture
def kept(tmp_path):
    """The environment of a person with one model, kept by llama.cpp."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny-Q8_0.gguf").write_bytes(b"GGUF")
    places = {"LLAMA_CACHE": "cache", "HF_HOME": "hf", "OLLAMA_MODELS": "ollama", "HOME": ""}
    return {**os.environ, **{name: str(tmp_path / path) for name, path in places.items()}}


def offered(shell, line, environ):
    """The lines that a shell gets for a line up to the cursor."""
    words = line.replace(":", " : ").split(" ")
    words = [word for i, word in enumerate(words) if word or i == len(words) - 1]
    if line.endswith(":"):
        words.pop()
    asked = {
        "_QRT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": line.split(" ")[-1],
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        QRT, env=environ | asked, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("qrt pu", ["pull"]),
        ("qrt run --temp", ["--temp", "--temperature"]),
        ("qrt run qwen3:4", ["4b"]),
        ("qrt run -m gpt-oss:", ["20b", "120b"]),
        ("qrt pull gpt-oss", ["gpt-oss:20b", "gpt-oss:120b"]),
        ("qrt run llamac", ["llamacpp:tiny-Q8_0.gguf"]),
        ("qrt rm llamacpp:ti", ["tiny-Q8_0.gguf"]),
        ("qrt run -fa on -nr qwen3:8", ["8b"]),
        ("qrt run no-such-mod", [""]),
    ],
)
def test_bash_completes(kept, line, among):
    assert offered("bash", line, kept) == among


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("zsh", ["_arguments '*: :((\"qwen3\\\\:4b\"))'"]),
        ("fish", ["qwen3:4b"]),
        ("powershell", ["qwen3:4b::: "]),
    ],
)
def test_other_shells_complete_names(kept, shell, expected):
    assert offered(shell, "qrt run qwen3:4", kept) == expected


def test_files_are_completed_too(kept, tmp_path):
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    (tmp_path / "mine.txt").write_text("")
    assert offered("fish", f"qrt run {tmp_path}/mi", kept) == [str(tmp_path / "mine.gguf")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_installs_it(kept, tmp_path):
    command = f'"{sys.executable}" -m qrt --install-completion bash; true'
    environ = kept | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, text=True)
    assert "bash completion installed" in done.stdout, done.stderr
    script = tmp_path / ".bash_completions" / "qrt.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    program = tmp_path / "qrt"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qrt "$@"\n')
    program.chmod(0o755)
    asked = "COMP_WORDS=(qrt run qwen3 : 4); COMP_CWORD=4; _qrt_completion qrt"
    done = subprocess.run(
        ["bash", "-c", f'source "{script}"; {asked}; echo "${{COMPREPLY[@]}}"'],
        env=environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("4b\n", "")


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["qrt", "run", ""], ["qrt", "run", ""]),
        (["qrt", "run", "a", ":", "b"], ["qrt", "run", "a:b"]),
        (["qrt", "run", "a", ":"], ["qrt", "run", "a:"]),
        (["qrt", "run", "hf", ":", "o/n", ":", "Q8"], ["qrt", "run", "hf:o/n:Q8"]),
        ([""], [""]),
    ],
)
def test_words_that_bash_parted_at_colons(words, joined):
    assert joined_at_colons(words) == joined
