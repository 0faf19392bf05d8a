"""`qrt perplexity` and `qrt kl` through the command line, beside NumPy in float64."""

from __future__ import annotations

import io
import json
import random
import struct
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import qrt
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.cli.bar import shown_bar
from qrt.formats.gguf import open_gguf
from qrt.formats.writer import write_gguf
from qrt.progress import no_progress
from qrt.runtime.loader import LoadOptions, load
from qrt.tools.chunks import ChunkModel

EMBEDDED = model_file(None)
N_CTX, N_CHUNKS = 33, 4
FIRST = N_CTX // 2
HEADER_BYTES = 64


def invoke(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def measured(*args):
    result = invoke(*args, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def changed(path, *, metadata=None, scale=1.0):
    """The embedded model with other metadata, and norms that are scaled."""
    with open_gguf(EMBEDDED) as file:
        tensors = []
        for t in file.tensors.values():
            data = t.data.tobytes()
            if t.qtype.name == "F32":
                data = (np.frombuffer(data, np.float32) * np.float32(scale)).tobytes()
            tensors.append((t.name, t.qtype, t.shape, data))
        write_gguf(path, dict(file.metadata) | (metadata or {}), tensors)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts, models and saved logits. What is missing compiles now: a command would tell of it."""
    qrt.load().close()
    folder = tmp_path_factory.mktemp("quality")
    words = random.Random(0).choices(["import", "os", "def", "(x):", "a\n", "file", "the"], k=400)
    (folder / "text.txt").write_text(" ".join(words))
    (folder / "short.txt").write_text("import os")
    (folder / "empty.txt").write_text("")
    changed(folder / "other.gguf", scale=1.2)
    changed(folder / "nan.gguf", scale=np.nan)
    with open_gguf(EMBEDDED) as file:
        pieces = list(file.metadata["tokenizer.ggml.tokens"])
    pieces[-1] += "x"
    changed(folder / "words.gguf", metadata={"tokenizer.ggml.tokens": pieces})
    save = ("-c", N_CTX, "--chunks", 2, "--save-logits", folder / "saved")
    measured("perplexity", EMBEDDED, "-f", folder / "text.txt", *save)
    return folder


@pytest.fixture
def text(folder):
    return ("-f", folder / "text.txt", "-c", N_CTX, "--chunks", N_CHUNKS)


def reference(path, file):
    """log p (n_chunks, n_scored, n_vocab) and the tokens that follow, from all rows' logits."""
    with qrt.load(path, n_ctx=N_CTX) as model:
        ids = model.tokenize(file.read_text())[: N_CHUNKS * N_CTX]
        chunks = np.array(ids).reshape(N_CHUNKS, N_CTX)
        chunks[:, 0] = ids[0]
        logits = np.stack([model.logits(chunk) for chunk in chunks]).astype(np.float64)
    logits = logits[:, FIRST:-1]
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), chunks[:, FIRST + 1 :]


def mean_and_error(values):
    return values.mean(), np.sqrt((np.mean(values**2) - values.mean() ** 2) / (values.size - 1))


def close(value):
    return pytest.approx(value, rel=1e-6, abs=1e-9)


def test_perplexity_is_that_of_the_second_half_of_each_chunk(folder, text):
    found = measured("perplexity", EMBEDDED, *text)
    log_p, following = reference(EMBEDDED, folder / "text.txt")
    mean, error = mean_and_error(-np.take_along_axis(log_p, following[..., None], -1))
    assert found == {
        "model_filename": str(EMBEDDED),
        "kv_type": "f16",
        "n_ctx": N_CTX,
        "n_chunks": N_CHUNKS,
        "n_tokens": following.size,
        "perplexity": close(np.exp(mean)),
        "perplexity_error": close(error * np.exp(mean)),
    }


def test_divergence_from_another_model(folder, text):
    found = measured("kl", EMBEDDED, "--base", folder / "other.gguf", *text)
    log_p, following = reference(EMBEDDED, folder / "text.txt")
    log_base, _ = reference(folder / "other.gguf", folder / "text.txt")
    kl = (np.exp(log_base) * (log_base - log_p)).sum(-1).ravel()
    same = log_p.argmax(-1).ravel() == log_base.argmax(-1).ravel()
    base_loss, _ = mean_and_error(-np.take_along_axis(log_base, following[..., None], -1))
    assert kl.mean() > 1e-3
    for name, value in (
        *zip(("kl_mean", "kl_mean_error"), mean_and_error(kl), strict=True),
        *zip(("same_top", "same_top_error"), mean_and_error(same.astype(float)), strict=True),
        *(("kl_median", np.median(kl)), ("kl_99", np.quantile(kl, 0.99)), ("kl_max", kl.max())),
        ("base_perplexity", np.exp(base_loss)),
        ("perplexity", measured("perplexity", EMBEDDED, *text)["perplexity"]),
    ):
        assert found[name] == close(value), name


def test_saved_logits_stand_for_the_model_that_gave_them(folder, text):
    file = folder / "other.logits"
    measured("perplexity", folder / "other.gguf", *text, "--save-logits", file)
    with_model = measured("kl", EMBEDDED, "--base", folder / "other.gguf", *text)
    with_file = measured("kl", EMBEDDED, "--base", file)
    assert with_file.pop("base_filename") == str(file)
    assert with_model.pop("base_filename") == str(folder / "other.gguf")
    assert with_file == with_model
    itself = measured("kl", folder / "other.gguf", "--base", file, "--chunks", 2)
    assert (itself["n_chunks"], itself["kl_max"], itself["same_top"]) == (2, 0, 1)


def test_a_chunk_longer_than_a_step_gives_the_same_rows():
    tokens = np.arange(3, 103, dtype=np.int32)
    model = ChunkModel(loaded := load(EMBEDDED, LoadOptions(n_ctx=100), no_progress))
    whole = list(model.rows(tokens))
    loaded.executor.settings = replace(loaded.executor.settings, max_rows=37)
    assert len(whole) == 49
    narrow = ChunkModel(loaded)
    assert np.array_equal(list(narrow.rows(tokens)), whole)
    narrow.close()
    model.close()


def test_tables_for_a_person(folder):
    lines = invoke("perplexity", "-f", folder / "text.txt", "-c", N_CTX).stdout.splitlines()
    assert len(lines) == 3
    assert "±" in lines[2]
    lines = invoke("kl", "--base", folder / "saved").stdout.splitlines()
    assert lines[0].endswith("2 chunks of 33 tokens, 32 scored, KV f16")
    assert "| KL divergence, mean | 0.000000 | 0.000000 |" in lines
    assert "| same top token | 100.000% | 0.000% |" in lines


BAD_INPUTS = {
    "empty": (["perplexity", "-f", "{}/empty.txt"], 2, "the text is empty"),
    "short": (["perplexity", "-f", "{}/short.txt", "-c", "64"], 2, "needs at least 128; give a"),
    "no file": (["perplexity", "-f", "{}/none.txt"], 2, "none.txt: cannot be read"),
    "context": (["perplexity", "-f", "{}/text.txt", "-c", "9999999"], 2, "was trained for"),
    "tiny": (["perplexity", "-f", "{}/text.txt", "-c", "7"], 2, "n_ctx must be between 8"),
    "chunks": (["perplexity", "-f", "{}/text.txt", "--chunks", "0"], 2, "n_chunks must be between"),
    "format": (["perplexity", "-f", "{}/text.txt", "-o", "csv"], 2, "-o must be one of md, json"),
    "nan": (
        ["perplexity", "{}/nan.gguf", "-f", "{}/text.txt", "-c", "33"],
        3,
        "not finite",
    ),
    "save": (
        ["perplexity", "-f", "{}/text.txt", "-c", "33", "--save-logits", "{}/no/x"],
        *(2, "no/x: cannot be written: No such file"),
    ),
    "save folder": (
        ["perplexity", "-f", "{}/text.txt", "-c", "33", "--save-logits", "{}"],
        *(2, "it is there and is no file"),
    ),
    "no base": (["kl", "--base", "{}/none.gguf", "-f", "{}/text.txt"], 3, "no such file"),
    "foreign base": (
        ["kl", "--base", "{}/text.txt", "-f", "{}/text.txt", "-c", "33"],
        *(3, "text.txt: not a GGUF file"),
    ),
    "no text": (["kl", "--base", "{}/other.gguf"], 2, "there is no text to compare"),
    "two texts": (["kl", "--base", "{}/saved", "-f", "{}/text.txt"], 2, "bring their own text"),
    "two contexts": (["kl", "--base", "{}/saved", "-c", "64"], 2, "was saved with 33"),
    "other words": (
        ["kl", "--base", "{}/words.gguf", "-f", "{}/text.txt", "-c", "33"],
        *(2, "different vocabularies"),
    ),
    "other words saved": (["kl", "{}/words.gguf", "--base", "{}/saved"], 2, "different vocab"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input_is_one_line_and_an_exit_code(name, folder):
    args, code, message = BAD_INPUTS[name]
    check_refused(invoke(*(arg.format(folder) for arg in args)), code, message)


def check_refused(result, code, message):
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def put(at, layout, *values):
    """What overwrites bytes of a file."""

    def overwrite(data):
        struct.pack_into(layout, data, at, *values)

    return overwrite


def cut_to(n_bytes):
    def cut(data):
        del data[n_bytes:]

    return cut


CORRUPTIONS = {
    "header": (cut_to(40), "truncated"),
    "end": (cut_to(-1), "truncated or corrupt: the header asks for"),
    "more": (lambda data: data.append(0), "truncated or corrupt"),
    "version": (put(8, "<I", 2), "not saved logits of version 1"),
    "reserved": (put(24, "<I", 1), "not saved logits of version 1"),
    "no vocabulary": (put(12, "<I", 0), "the header is wrong"),
    "no context": (put(16, "<I", 0), "the header is wrong"),
    "huge": (put(12, "<III", *3 * (2**32 - 1,)), "truncated or corrupt"),
    "token": (put(HEADER_BYTES + 4, "<i", 2**30), "chunk 1 has tokens outside the vocabulary"),
    "negative token": (put(HEADER_BYTES + 4, "<i", -1), "tokens outside the vocabulary"),
    "infinite": (put(HEADER_BYTES + 4 * N_CTX, "<f", np.inf), "not finite"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_saved_logits_that_are_no_good(name, folder, tmp_path):
    corrupt, message = CORRUPTIONS[name]
    data = bytearray((folder / "saved").read_bytes())
    corrupt(data)
    (tmp_path / "bad").write_bytes(data)
    check_refused(invoke("kl", "--base", tmp_path / "bad"), 3, message)


def test_what_fails_leaves_no_logits_behind(folder, tmp_path):
    (tmp_path / "logits").write_text("earlier")
    save = ("-f", folder / "text.txt", "-c", N_CTX, "--save-logits", tmp_path / "logits")
    check_refused(invoke("perplexity", folder / "nan.gguf", *save), 3, "not finite")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("logits", "earlier")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_is_for_a_terminal_and_goes_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        monkeypatch.setattr("sys.stderr", out)
        with shown_bar() as progress:
            progress("loading weights", 250_000, 1_000_000)
            progress("perplexity", 0, 4)
            progress("perplexity 12.5", 3, 4)
    assert "perplexity 12.5" in terminal.getvalue()
    assert " 75%" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")
    assert pipe.getvalue() == ""
