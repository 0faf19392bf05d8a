"""Embeddings and ranking in Python: the embedded model's hidden states as vectors of texts."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from adapters import pairs_of, write_adapter
from test_cli import rewritten

import qrt
from qrt.errors import NonFiniteError
from qrt.formats.gguf import open_gguf
from qrt.runtime.hidden import HiddenStates
from qrt.runtime.tasks import PROMPTS_KEY, tasks_of
from qrt.runtime.turns import Alone

TEXTS = ["os.path.join joins paths", "json.dumps writes JSON", "a", "import os\n" * 20]
RNG = np.random.default_rng(5)
IDS = [RNG.integers(5, 500, n).tolist() for n in (1, 3, 90, 40, 64, 17, 33, 300, 2, 65)]


@pytest.fixture(scope="module")
def model():
    with qrt.load(embedding=True) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def answering():
    with qrt.load() as loaded:
        yield loaded


@pytest.fixture(scope="module")
def alone(model):
    """The vector of each of IDS, in calls of their own."""
    return np.stack([model.embed(ids) for ids in IDS])


def test_hidden_states_are_those_that_logits_are_made_of(model, answering):
    [rows] = model.embed([IDS[2]], pooling="none", normalize=False)
    with open_gguf(model.info.path) as file:
        output = file.tensors.get("output.weight", file.tensors["token_embd.weight"]).dequantize()
    logits = answering.logits(IDS[2])
    assert rows.shape == (90, model.info.dim)
    error = np.square(rows @ output.T - logits).sum() / np.square(logits).sum()
    assert error < 1e-3  # activations of the last matmul are quantized


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_is_of_the_rows(model, pooling):
    [rows] = model.embed([IDS[3]], pooling="none", normalize=False)
    found = model.embed(IDS[3], pooling=pooling, normalize=False)
    wanted = {"mean": rows.astype(np.float64).mean(axis=0), "cls": rows[0], "last": rows[-1]}
    np.testing.assert_allclose(found, wanted[pooling], rtol=1e-6)
    assert found.dtype == np.float32


def test_neighbours_steps_and_threads_change_no_bit(model, alone):
    assert (model.embed(IDS) == alone).all()
    assert (model.embed(IDS[::-1]) == alone[::-1]).all()
    engine, graph = model._core.engine, model._core.loaded.graph
    whole = {p: model.embed(IDS, pooling=p, normalize=False) for p in ("mean", "cls", "last")}
    encoded = model.embedder.encoded(IDS)
    for rows in (33, 200):  # a text of 300 rows takes several steps, others fill them
        hidden = HiddenStates(engine, graph.states, rows, chunks=True)
        for pooling, vectors in whole.items():
            assert (np.stack(hidden.run(encoded, pooling)) == vectors).all()
    results = {}

    def work(number):
        results[number] = model.embed(IDS[number:] + IDS[:number])

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in results.items():
        assert (found == np.roll(alone, -number, axis=0)).all()
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages


def test_calls_of_threads_share_steps(model):
    hidden = model.embedder._hidden
    before, counts = model.health.counts, []
    barrier = threading.Barrier(9)

    def work():
        barrier.wait()
        counts.append(model.embed([5, 6, 7]))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    with Alone(hidden._turns):
        barrier.wait()
        while len(hidden._calls) < 8:
            pass
    for thread in threads:
        thread.join()
    assert model.health.counts.n_steps - before.n_steps == 1
    assert all((one == counts[0]).all() for one in counts)


def test_a_step_that_fails_ends_the_guilty_call_alone(model, alone, monkeypatch):
    engine, real = model._core.engine, model._core.engine.step

    def step(rows):
        if any(511 in part.tokens for part in rows):
            raise NonFiniteError("layer 1")
        return real(rows)

    monkeypatch.setattr(engine, "step", step)
    hidden, results = model.embedder._hidden, {}

    def work(name, texts):
        try:
            results[name] = model.embed(texts)
        except NonFiniteError as error:
            results[name] = error

    calls = {"good": IDS, "bad": [[7, 8], [511]]}
    threads = [threading.Thread(target=work, args=call) for call in calls.items()]
    with Alone(hidden._turns):  # both are there before the first step
        for thread in threads:
            thread.start()
        while len(hidden._calls) < 2:
            pass
    for thread in threads:
        thread.join()
    assert (results["good"] == alone).all()
    assert isinstance(results["bad"], NonFiniteError)
    assert engine.n_free_pages == engine.n_pages


@pytest.mark.parametrize("number", [0, 2])
def test_an_interrupt_ends_the_call_of_its_thread_alone(model, monkeypatch, number):
    engine, real = model._core.engine, model._core.engine.step
    wanted = model.embed(IDS, pooling="last", normalize=False)
    steps, results = iter(range(99)), []

    def step(rows):
        found = real(rows)
        if next(steps) == number:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(engine, "step", step)
    hidden = HiddenStates(engine, model._core.loaded.graph.states, 128, chunks=True)
    encoded = model.embedder.encoded(IDS)

    def work():
        try:
            results.append(hidden.run(encoded, "last"))
        except KeyboardInterrupt:
            results.append(None)

    threads = [threading.Thread(target=work) for _ in range(2)]
    with Alone(hidden._turns):
        for thread in threads:
            thread.start()
        while len(hidden._calls) < 2:
            pass
    for thread in threads:
        thread.join()
    [ended] = [found for found in results if found is not None]
    assert (np.stack(ended) == wanted).all()
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages
    assert not hidden._calls


def test_vectors_are_of_length_one_and_as_long_as_asked(model):
    whole = model.embed(TEXTS, normalize=False)
    for dim in (None, 16, 1):
        found = model.embed(TEXTS, dim=dim)
        assert found.shape == (4, dim or model.info.embedding_dim)
        cut = whole[:, :dim]
        np.testing.assert_allclose(found, cut / np.linalg.norm(cut, axis=1)[:, None], rtol=1e-5)
    assert model.embed("a", dim=3).shape == (3,)
    assert model.embed([]).shape == (0, model.info.embedding_dim)


def test_long_texts_are_cut_where_asked(model):
    n_ctx = model.info.n_ctx
    ids = [5 + i % 90 for i in range(n_ctx + 30)]
    with pytest.raises(qrt.ContextFullError, match=rf"texts\[1\] is too large.* {n_ctx}.*truncate"):
        model.embed([[5], ids])
    assert (model.embed(ids, truncate=True) == model.embed(ids[:n_ctx])).all()
    text = "word " * n_ctx
    with pytest.raises(qrt.ContextFullError, match="at least"):
        model.embed(text * 20)
    short = model.tokenize(text)[:n_ctx]
    assert (model.embed(text, truncate=True) == model.embed(short)).all()


def test_a_file_names_pooling_and_tasks(tmp_path, model):
    metadata = {"llama.pooling_type": 3, f"{PROMPTS_KEY}query": "find: "}
    path = rewritten(tmp_path / "stated.gguf", metadata=metadata)
    with qrt.load(path) as stated:
        assert (stated.info.pooling, stated.info.ranks_by) == ("last", "cosine")
        assert (stated.embed(TEXTS) == model.embed(TEXTS, pooling="last")).all()
        assert stated.embedder.tasks == ("query",)
        asked = stated.embed("paths", task="query")
        assert (asked == stated.embed("find: paths")).all()
        with pytest.raises(qrt.InputError, match="none of this model's: query"):
            stated.embed("a", task="document")


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("Multilingual E5 Large", "query: ", "passage: "),
        ("Multilingual E5 Large Instruct", None, None),
        ("bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("Bge M3", None, None),
        ("Snowflake Arctic Embed L v2.0", "query: ", ""),
        (5, None, None),
    ],
)
def test_models_are_told_apart_by_their_names(name, query, document):
    found = tasks_of({"general.name": name}, "bert")
    assert [found[task].prompt for task in found] == [p for p in (query, document) if p is not None]
    assert set(found) <= {"query", "document"}


WRONG = {
    "texts must be a text or a list": lambda m: m.embed(5),
    "texts must be a text": lambda m: m.embed(b"a"),
    r"texts\[1\] must be a string or token ids": lambda m: m.embed(["a", None]),
    r"texts\[0\]\[1\] must be between": lambda m: m.embed([5, 10**6]),
    r"texts\[0\] is empty": lambda m: m.embed([[]]),
    "pooling must be one of mean, cls, last, none": lambda m: m.embed("a", pooling="max"),
    "dim must be between 1 and": lambda m: m.embed("a", dim=10**6),
    "normalize must be True or False": lambda m: m.embed("a", normalize=1),
    "truncate must be True or False": lambda m: m.embed("a", truncate="yes"),
    "this model's: none": lambda m: m.embed("a", task="query"),
    "not valid Unicode": lambda m: m.embed("\ud800"),
    "query must be a string": lambda m: m.rerank(5, ["a"]),
    r"texts\[0\] must be a string": lambda m: m.rerank("a", [[5]]),
    "texts must be a list": lambda m: m.rerank("a", "b"),
    "model.embed": lambda m: m.generate("a"),
    "without embedding=True": lambda m: m.chat([{"role": "user", "content": "a"}]),
    "makes vectors of texts": lambda m: m.logits("a"),
    "vectors of texts, not answers": lambda m: m.session(),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_done_says_why(model, message):
    with pytest.raises(qrt.InputError, match=message) as raised:
        WRONG[message](model)
    assert "\n" not in str(raised.value)


def test_a_language_model_says_how_to_embed_with_it(answering):
    assert answering.info.pooling is None
    with pytest.raises(qrt.InputError, match="embedding=True"):
        answering.embed("a")
    for mistake in (
        {"embedding": "yes"},
        {"pooling": "max"},
        {"pooling": "cls", "embedding": False},
    ):
        with pytest.raises(qrt.InputError, match=r"(embedding|pooling) (must be|is of)"):
            qrt.load(**mistake)
    with pytest.raises(qrt.InputError, match="is an encoder"):
        qrt.load("embed", embedding=False)


def test_event_loops_embed_and_may_stop(model, alone):
    async def work():
        found = await asyncio.gather(*(model.aembed(ids) for ids in IDS))
        assert (np.stack(found) == alone).all()
        assert await model.arerank("a", TEXTS) == model.rerank("a", TEXTS)
        task = asyncio.create_task(model.aembed(IDS * 100))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert model._core.engine.n_free_pages == model._core.engine.n_pages


def test_too_many_calls_are_refused():
    with qrt.load(embedding=True, max_waiting=1) as model:
        hidden = model.embedder._hidden
        hidden._calls = {object(): None}
        with pytest.raises(qrt.FullError, match="1 calls wait"):
            model.embed("a")


def test_a_closed_model_embeds_nothing(model):
    with qrt.load(embedding=True) as closed:
        embedder = closed.embedder
    with pytest.raises(qrt.ClosedError):
        closed.embed("a")
    with pytest.raises(qrt.ClosedError):
        embedder.embed(model.embedder.encoded(["a"]))


def test_adapters_are_used_as_far_as_the_model_says(tmp_path, model):
    graph = model._core.loaded.graph
    path = write_adapter(tmp_path / "a.gguf", graph.arch, pairs_of(graph, 4, 1), 4.0)
    with qrt.load(lora=[path], embedding=True) as adapted:
        assert not np.allclose(adapted.embed(TEXTS), model.embed(TEXTS), atol=1e-2)
        adapted.use_adapters({})
        assert (adapted.embed(TEXTS) == model.embed(TEXTS)).all()
