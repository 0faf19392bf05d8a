"""Encoders in Python: whole texts, pairs of texts, heads; over a vocabulary of letters."""

from __future__ import annotations

import numpy as np
import pytest
from adapters import merged, pairs_of, write_adapter
from kernels import nmse
from tiny_models import metadata_of, tensor, tensors_of

import qrt
from qrt.errors import InputError
from qrt.formats.writer import write_gguf
from qrt.runtime.heads import through
from qrt.runtime.hidden import HiddenStates

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["▁a", "▁b", "▁c", "▁d"], *"abcdefghij"]
VOCABULARY = {
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.tokens": [*WORDS, *(f"▁{n}" for n in range(64 - len(WORDS)))],
    "tokenizer.ggml.unknown_token_id": 1,
    "tokenizer.ggml.bos_token_id": 2,
    "tokenizer.ggml.seperator_token_id": 3,
}
CLS, SEP = 2, 3
RNG = np.random.default_rng(7)
IDS = [RNG.integers(5, 64, n).tolist() for n in (256, 3, 90, 40, 64, 1, 33, 200)]
HEAD = {
    "cls.weight": (64, 64),
    "cls.bias": (64,),
    "cls.output.weight": (1, 64),
    "cls.output.bias": (1,),
}


def write(path, name, metadata, extra):
    """A tiny model with a vocabulary and further tensors."""
    tensors = {**tensors_of(name), **{key: tensor(key, value) for key, value in extra.items()}}
    found = [(t.name, t.qtype, tuple(t.shape), t.source) for t in tensors.values()]
    write_gguf(path, {**metadata_of(name), **VOCABULARY, **metadata}, found)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A BERT that ranks."""
    path = tmp_path_factory.mktemp("encoder") / "bert.gguf"
    weights = {name: RNG.standard_normal(shape) / 8 for name, shape in HEAD.items()}
    return write(path, "bert", {"bert.pooling_type": 4}, weights)


@pytest.fixture(scope="module")
def model(file):
    with qrt.load(file) as loaded:
        yield loaded


def test_texts_are_packed_whole_and_have_the_bits_that_they_have_alone(model):
    assert (model.info.n_ctx, model._core.engine.max_rows) == (256, 512)
    for pooling in ("mean", "cls", "last"):
        alone = np.stack([model.embed(ids, pooling=pooling) for ids in IDS])
        before = model.health.counts.n_steps
        assert (model.embed(IDS, pooling=pooling) == alone).all()
        assert model.health.counts.n_steps - before == 2  # 687 rows
    encoded = model.embedder.encoded(IDS)
    hidden = HiddenStates(model._core.engine, (), 100, chunks=False)
    whole = model.embed(IDS, pooling="mean", normalize=False)
    assert (np.stack(hidden.run(encoded, "mean")) == whole).all()
    with pytest.raises(qrt.ContextFullError, match="257 tokens, the context holds 256"):
        model.embed([5] * 257, pooling="cls")


def test_a_text_ends_where_its_vocabulary_says(model):
    assert model.tokenize("abc b") == [CLS, 5, 10, 11, 6, SEP]
    cut = model.embedder.encoded(["a " * 300], truncate=True)[0].tokens
    assert (len(cut), cut[0], cut[-2:]) == (256, CLS, [5, SEP])
    assert (model.embed("", pooling="cls") == model.embed([CLS, SEP], pooling="cls")).all()


def test_a_pair_has_types_and_ranks(model, file):
    query, texts = "a b", ["c", "d a b", "abc abc"]
    pairs = model.embedder.pairs(query, texts)
    assert [pair.tokens for pair in pairs] == [
        [CLS, 5, 6, SEP, *model.tokenize(text, add_special=False), SEP] for text in texts
    ]
    assert pairs[1].types.tolist() == [0] * 4 + [1] * 4
    found = model.rerank(query, texts)
    with qrt.load(file, backend="reference") as exact:
        wanted = exact.rerank(query, texts)
        head = exact._core.loaded.graph.ranking.heads
        weights = exact._core.loaded.head_weights
        [row] = exact.embed([pairs[1].tokens], pooling="cls", normalize=False)
        untyped = through(head, weights, row)[0]  # of another text: all of its types are 0
    assert [index for index, _ in found] == [index for index, _ in wanted]
    scores = dict(wanted)
    np.testing.assert_allclose([scores[i] for i, _ in found], [s for _, s in found], atol=2e-2)
    assert abs(scores[1] - untyped) > 0.05
    long = model.embedder.pairs(query, ["c " * 300], truncate=True)[0]
    assert (len(long.tokens), long.tokens[:4], long.tokens[-1]) == (256, [CLS, 5, 6, SEP], SEP)
    with pytest.raises(qrt.ContextFullError, match="the query"):
        model.rerank("a " * 300, ["c"], truncate=True)


def test_dense_layers_come_behind_pooling(tmp_path):
    dense = {
        "dense_2.weight": RNG.standard_normal((96, 64)) / 8,
        "dense_3.weight": RNG.standard_normal((24, 96)) / 8,
    }
    sizes = {"dense_2_feat_in": 64, "dense_2_feat_out": 96}
    sizes |= {"dense_3_feat_in": 96, "dense_3_feat_out": 24}
    keys = {f"gemma-embedding.{key}": size for key, size in sizes.items()}
    plain = write(tmp_path / "plain.gguf", "gemma-embedding", {}, {})
    path = write(tmp_path / "dense.gguf", "gemma-embedding", keys, dense)
    with qrt.load(plain) as short, qrt.load(path) as model:
        assert (short.info.embedding_dim, model.info.embedding_dim) == (64, 24)
        rows = short.embed(IDS[1:], normalize=False)
        found = model.embed(IDS[1:], normalize=False)
        wanted = rows @ dense["dense_2.weight"].T @ dense["dense_3.weight"].T
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
        alone = [model.embed(ids, dim=8) for ids in IDS[1:]]
        assert (model.embed(IDS[1:], dim=8) == np.stack(alone)).all()
        assert {"query", "document", "classification", "clustering"} <= {*model.embedder.tasks}
        asked = model.embedder.encoded(["a"], task="document")
        assert asked[0].tokens == model.tokenize("title: none | text: a")


def test_tasks_have_adapters_of_their_own(tmp_path):
    """As files of jina-embeddings-v3 are: also what tokens of its one type are embedded as."""
    arch, tasks = "jina-bert-v3", ("retrieval.query", "retrieval.passage")
    plain = write(tmp_path / "plain.gguf", arch, {}, {})
    with qrt.load(plain) as model:
        graph, bare = model._core.loaded.graph, model.embed(IDS[1:], normalize=False)
    paths, wanted, texts = [], {}, ["a b", "abc d"]
    for number, task in enumerate(tasks):
        pairs = pairs_of(graph, 4, number)
        assert {"token_types.weight", "token_embd.weight"} <= pairs.keys()
        more = {"adapter.lora.task_name": task, "adapter.lora.prompt_prefix": "c" * number}
        path = tmp_path / f"lora-{task}.gguf"
        paths.append((write_adapter(path, arch, pairs, 8.0, more=more), 0.0))
        changed = merged(tensors_of(arch), [(pairs, 2.0)])
        found = [(t.name, t.qtype, tuple(t.shape), t.source) for t in changed.values()]
        write_gguf(tmp_path / "merged.gguf", {**metadata_of(arch), **VOCABULARY}, found)
        with qrt.load(tmp_path / "merged.gguf") as model:
            wanted[task] = model.embed(IDS[1:], normalize=False)
            [wanted[task, "text"]] = model.embed([("c" * number) + texts[number]])
    with qrt.load(plain, lora=paths) as model:
        assert model.embedder.tasks == tasks
        assert (model.embed(IDS[1:], normalize=False) == bare).all()
        for number, task in enumerate(tasks):
            got = model.embed(IDS[1:], task=task, normalize=False)
            assert nmse(got, wanted[task]) < 1e-6 < nmse(bare, wanted[task])
            text = model.embed(texts[number], task=task)
            np.testing.assert_allclose(text, wanted[task, "text"], atol=1e-3)
        [(_, score)] = model.rerank(texts[0], texts[1:])
        query, passage = (wanted[task, "text"].astype(np.float64) for task in tasks)
        np.testing.assert_allclose(score, query @ passage, atol=1e-4)
        with pytest.raises(InputError, match=r"none of this model's: retrieval\.query, retr"):
            model.embed("a", task="separation")


def test_an_encoder_does_not_answer(model):
    with pytest.raises(qrt.InputError, match="vectors of texts"):
        model.generate("a")
    assert model._core.engine.n_pages == ()
    assert (model.info.pooling, model.info.ranks_by) == ("rank", "head")
