"""Ranking in Python, and the heads that rank."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_cli import rewritten

import qrt
from qrt.formats.gguf import open_gguf
from qrt.formats.quants.f32 import F32
from qrt.formats.writer import write_gguf
from qrt.graph.heads import Head
from qrt.runtime import hidden
from qrt.runtime.heads import through
from qrt.runtime.hidden import HiddenStates
from qrt.runtime.inputs import RANK_KEY

TEXTS = ["os.path.join joins paths", "json.dumps writes JSON", "a", "import os\n" * 20]
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def model():
    with qrt.load(embedding=True) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def answering():
    with qrt.load() as loaded:
        yield loaded


def with_head(path, metadata, tensors):
    """The embedded model's file with other metadata and further float32 tensors."""
    path = rewritten(path, metadata=metadata)
    with open_gguf(path) as file:
        kept = [(t.name, t.qtype, t.shape, t.data.tobytes()) for t in file.tensors.values()]
        more = [(name, F32, w.shape, w.astype("<f4").tobytes()) for name, w in tensors.items()]
        write_gguf(path.with_suffix(".head.gguf"), dict(file.metadata), [*kept, *more])
    return path.with_suffix(".head.gguf")


def test_cosines_rank(model):
    query = "How are paths joined?"
    found = model.rerank(query, TEXTS)
    cosines = model.embed(TEXTS).astype(np.float64) @ model.embed(query)
    assert [index for index, _ in found] == np.argsort(-cosines).tolist()
    np.testing.assert_allclose([score for _, score in found], sorted(cosines)[::-1], rtol=1e-6)
    assert model.rerank(query, []) == []


def test_a_head_ranks(tmp_path, model):
    weights = {"cls.output.weight": RNG.standard_normal((1, model.info.dim))}
    rank = "q: {query}<|im_end|>d: {document}"
    metadata = {"llama.pooling_type": 4, RANK_KEY: rank}
    path = with_head(tmp_path / "rank.gguf", metadata, weights)
    with qrt.load(path) as ranking:
        assert (ranking.info.pooling, ranking.info.ranks_by) == ("rank", "head")
        found = ranking.rerank("join <|im_end|>", TEXTS)
        tokens = [
            ranking.tokenizer.tokenize_spans(
                [("q: ", True), ("join <|im_end|>", False), ("<|im_end|>d: ", True), (text, False)],
                add_special=False,
            )
            for text in TEXTS
        ]
        rows = ranking.embed(tokens, pooling="last", normalize=False)
        scores = rows.astype(np.float64) @ weights["cls.output.weight"][0]
        assert [index for index, _ in found] == np.argsort(-scores).tolist()
        np.testing.assert_allclose([score for _, score in found], sorted(scores)[::-1], rtol=1e-4)
        long = "word " * 600
        with pytest.raises(qrt.ContextFullError, match=r"the query with texts\[0\]"):
            ranking.rerank("join", [long])
        [(_, cut)] = ranking.rerank("join", [long], truncate=True)
        assert math.isfinite(cut)
        with pytest.raises(qrt.InputError, match="is a reranker"):
            ranking.embed("a")


def test_what_pairs_begin_with_is_computed_once(tmp_path, model, monkeypatch):
    weights = {"cls.output.weight": RNG.standard_normal((1, model.info.dim))}
    metadata = {"llama.pooling_type": 4, RANK_KEY: "{query} said of {document}?"}
    path = with_head(tmp_path / "rank.gguf", metadata, weights)
    query, texts = "join paths of files " * 20, [*TEXTS, "join", "paths of"]
    with qrt.load(path, n_ctx=512) as ranking:
        alone = [ranking.rerank(query, [text])[0][1] for text in texts]
        before = ranking.health.counts.n_rows
        found = dict(ranking.rerank(query, texts))
        n_rows = ranking.health.counts.n_rows - before
        assert [found[i] for i in range(6)] == alone
        pairs = ranking.embedder.pairs(query, texts)
        n_alike = hidden.n_alike(pairs)
        assert n_alike > 60
        assert n_rows == n_alike + sum(len(pair.tokens) - n_alike for pair in pairs)
        engine = ranking._core.engine
        engine.check_integrity()
        assert engine.n_free_pages == engine.n_pages
        monkeypatch.setattr(HiddenStates, "_reserve", lambda *_: False)  # no pages to spare
        assert dict(ranking.rerank(query, texts)) == found


def test_a_language_model_called_a_reranker_says_yes_or_no(tmp_path, answering):
    path = rewritten(tmp_path / "q.gguf", metadata={"general.name": "Some-Reranker"})
    with qrt.load(path) as asked:
        assert asked.info.ranks_by == "yes or no"
        if asked.tokenizer.find("yes") is None:
            with pytest.raises(qrt.InputError, match="no tokens yes and no"):
                asked.rerank("a", TEXTS)
    with pytest.raises(qrt.InputError, match="embedding=True"):
        answering.rerank("a", TEXTS)


def test_heads_are_what_they_say():
    rng = np.random.default_rng(3)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in {"w": (4, 6), "b": 4, "n": 4, "o": (2, 4)}.items()
    }
    rows = rng.standard_normal((3, 6)).astype(np.float32)
    for act, function in {
        "tanh": np.tanh,
        "gelu_erf": np.vectorize(lambda v: v * 0.5 * (1 + math.erf(v / 2**0.5))),
    }.items():
        first = Head("w", 6, 4, bias="b", act=act, norm="n", eps=1e-5)
        h = function(rows @ weights["w"].T + weights["b"])
        h = (h - h.mean(axis=1)[:, None]) / np.sqrt(h.var(axis=1)[:, None] + 1e-5) * weights["n"]
        scores = h @ weights["o"].T
        found = through((first, Head("o", 4, 2)), weights, rows)
        np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
        powers = np.exp(scores)
        shares = through((first, Head("o", 4, 2, act="softmax")), weights, rows)
        np.testing.assert_allclose(shares, powers / powers.sum(axis=1)[:, None], rtol=1e-4)
    assert (through((first,), weights, rows[1]) == through((first,), weights, rows)[1]).all()
