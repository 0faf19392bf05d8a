"""`qrt embed` and `qrt rerank` through their front door."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from pyarrow import parquet
from test_cli import EMBEDDED, invoke

import qrt

TEXTS = ["os.path.join joins paths", "json.dumps writes JSON", "a"]
LINES = "\n".join(TEXTS) + "\n\n"


@pytest.fixture(scope="module")
def model():
    with qrt.load(embedding=True) as loaded:
        yield loaded


def numbers(result):
    assert result.exit_code == 0, result.stderr
    return np.array([line.split() for line in result.stdout.splitlines()], np.float32)


def test_vectors_are_lines_of_numbers(model, tmp_path):
    whole = model.embed(TEXTS)
    result = invoke("embed", EMBEDDED, *TEXTS)
    assert (numbers(result) == whole).all()
    assert "names no pooling, mean is used" in result.stderr
    assert (numbers(invoke("embed", EMBEDDED, piped=LINES)) == whole).all()
    (tmp_path / "texts.txt").write_text(LINES)
    result = invoke("embed", "-m", EMBEDDED, "-f", tmp_path / "texts.txt", "--dim", 5)
    assert (numbers(result) == model.embed(TEXTS, dim=5)).all()
    result = invoke("embed", "-m", EMBEDDED, "a", "--no-normalize", "--pooling", "last")
    assert (numbers(result)[0] == model.embed("a", normalize=False, pooling="last")).all()


def test_lines_of_json_keep_their_fields(model, tmp_path):
    piped = "\n".join(json.dumps({"id": n, "text": text}) for n, text in enumerate(TEXTS))
    result = invoke("embed", EMBEDDED, "--jsonl", piped=piped)
    for n, line in enumerate(result.stdout.splitlines()):
        found = json.loads(line)
        assert (found["id"], found["text"]) == (n, TEXTS[n])
        assert (np.float32(found["embedding"]) == model.embed(TEXTS[n])).all()
    file = tmp_path / "texts.jsonl"
    file.write_text(piped)
    result = invoke("embed", EMBEDDED, "-f", file)
    assert (numbers(result) == model.embed(TEXTS)).all()
    file.write_text('{"text": "a"}\n{"text": 5}\n')
    result = invoke("embed", EMBEDDED, "-f", file)
    assert (result.exit_code, "line 2: expected a JSON object" in result.stderr) == (2, True)


def test_files_of_vectors(model, tmp_path):
    whole = model.embed(TEXTS)
    for name in ("v.npy", "v.jsonl", "v.txt"):
        result = invoke("embed", EMBEDDED, *TEXTS, "-o", tmp_path / name)
        assert (result.exit_code, result.stdout) == (0, "")
    assert (np.load(tmp_path / "v.npy") == whole).all()
    lines = (tmp_path / "v.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == TEXTS
    assert (np.float32([json.loads(line)["embedding"] for line in lines]) == whole).all()
    assert (np.loadtxt(tmp_path / "v.txt", np.float32) == whole).all()


def test_parquet(model, tmp_path):
    result = invoke("embed", EMBEDDED, *TEXTS, "-o", tmp_path / "v.parquet")
    assert result.exit_code == 0, result.stderr
    table = parquet.read_table(tmp_path / "v.parquet").to_pydict()
    assert table["text"] == TEXTS
    assert (np.float32(table["embedding"]) == model.embed(TEXTS)).all()


def test_ranks(model):
    wanted = model.rerank("join paths", TEXTS)
    with qrt.load() as answering, pytest.raises(qrt.InputError):
        answering.rerank("join paths", TEXTS)
    result = invoke("rerank", EMBEDDED, "join paths", *TEXTS)
    assert result.exit_code == 2
    assert "embedding=True" in result.stderr
    result = invoke("rerank", EMBEDDED, "join paths", "--embedding", "--top", 2, piped=LINES)
    assert result.stdout == "".join(f"{score:.4f}\t{TEXTS[i]}\n" for i, score in wanted[:2])
    result = invoke("rerank", EMBEDDED, "join paths", *TEXTS, "--jsonl", "--embedding")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found == [{"index": i, "score": score, "text": TEXTS[i]} for i, score in wanted]


WRONG = {
    "there is no model": ["embed"],
    "there is no text": ["embed", EMBEDDED, "-f", "/dev/null"],
    "texts are given twice": ["embed", EMBEDDED, "a", "-f", "x"],
    "the name must end in .npy": ["embed", EMBEDDED, "a", "-o", "x.csv"],
    "pooling must be one of": ["embed", EMBEDDED, "a", "--pooling", "max"],
    "many vectors of a text": ["embed", EMBEDDED, "a", "--pooling", "none"],
    "dim must be between 1 and 512": ["embed", EMBEDDED, "a", "--dim", "0"],
    "none of this model's": ["embed", EMBEDDED, "a", "--task", "query"],
    "is too large": ["embed", EMBEDDED, "word " * 600],
    "there is no query": ["rerank", EMBEDDED],
    "--top must be at least 1": ["rerank", EMBEDDED, "a", "b", "--top", "0"],
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_a_line(message):
    result = invoke(*WRONG[message])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]


def test_parquet_without_its_package_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = invoke("embed", EMBEDDED, "a", "-o", tmp_path / "v.parquet")
    assert (result.exit_code, "qrt[parquet]" in result.stderr) == (3, True)


def test_info_says_how_it_pools(tmp_path):
    from test_cli import rewritten

    path = rewritten(tmp_path / "pooled.gguf", metadata={"llama.pooling_type": 3})
    told = invoke("info", path)
    assert "512 values, pooling last" in told.stdout
    assert json.loads(invoke("info", path, "--json").stdout)["running"]["embedding_dim"] == 512
    assert "pooling" not in invoke("info", EMBEDDED).stdout
