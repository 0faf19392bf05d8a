"""Embeddings and ranks over HTTP, in the words of each API."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ollama
import openai
import pytest
from served import NAME, served
from test_cli import rewritten

import qrt
from qrt.runtime.tasks import PROMPTS_KEY

TEXTS = ["os.path.join joins paths", "json.dumps writes JSON", "a"]
V1, RERANK = "/v1/embeddings", "/v1/rerank"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of a model whose file names a task."""
    path = tmp_path_factory.mktemp("task") / "task.gguf"
    rewritten(path, metadata={f"{PROMPTS_KEY}query": "find: "})
    with qrt.load(path, embedding=True) as model, served(model) as running:
        yield running


@pytest.fixture(scope="module")
def by_token(tmp_path_factory):
    """A server of a model whose file names the pooling none."""
    path = tmp_path_factory.mktemp("none") / "none.gguf"
    rewritten(path, metadata={"llama.pooling_type": 0})
    with qrt.load(path, embedding=True) as model, served(model) as running:
        yield running


@pytest.fixture(scope="module")
def answering():
    with served() as running:
        yield running


def vectors(reply):
    assert reply.status == 200, reply.body
    return np.array([one["embedding"] for one in reply.json["data"]], np.float32)


def test_openai_embeddings(server):
    wanted = server.model.embed(TEXTS)
    reply = server.ask(V1, {"input": TEXTS, "model": "any"})
    assert (vectors(reply) == wanted).all()
    assert (reply.json["object"], reply.json["model"]) == ("list", NAME)
    assert [one["index"] for one in reply.json["data"]] == [0, 1, 2]
    n_tokens = sum(len(server.model.tokenize(text)) for text in TEXTS)
    assert reply.json["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    ids = [server.model.tokenize(text) for text in TEXTS]
    assert (vectors(server.ask(V1, {"input": ids})) == wanted).all()
    assert (vectors(server.ask(V1, {"input": ids[1]})) == wanted[1:2]).all()
    reply = server.ask(V1, {"input": TEXTS[0], "dimensions": 32, "encoding_format": "base64"})
    [one] = reply.json["data"]
    found = np.frombuffer(base64.b64decode(one["embedding"]), "<f4")
    assert (found == server.model.embed(TEXTS[0], dim=32)).all()
    found = vectors(server.ask(V1, {"input": TEXTS, "task": "query"}))
    assert (found == server.model.embed(TEXTS, task="query")).all()
    assert (found != wanted).any()


MIXED = [
    *("", "string", [12, 34, 56], [12, 34, "string", 56, 78], ["one", "two"]),
    *(["one", [12, 34]], [[12, 34, 56], [12, "string", 34]], {"prompt_string": "string"}),
    {"content": [{"type": "text", "text": "st"}, {"type": "text", "text": "ring"}]},
    ["one", {"prompt_string": "two"}, {"content": [{"type": "text", "text": "three"}]}],
]


@pytest.mark.parametrize("given", MIXED, ids=str)
def test_inputs_in_every_form_of_llama_server(server, given):
    many = isinstance(given, list) and not any(isinstance(part, int) for part in given)
    assert len(vectors(server.ask(V1, {"input": given}))) == (len(given) if many else 1)
    if isinstance(given, dict):
        same = vectors(server.ask(V1, {"input": "string"}))
        assert (vectors(server.ask(V1, {"input": given})) == same).all()


WRONG = {
    "input is missing": {},
    "none of this model's: query": {"input": "a", "task": "document"},
    "from 1 to 2048 texts, got 0": {"input": []},
    "got 2049": {"input": ["a"] * 2049},
    "input: expected a text": {"input": 5},
    "not empty": {"input": ["a", []]},
    "parts of type text": {"input": {"content": [{"type": "image_url"}]}},
    "expected a text, token ids": {"input": {"content": "string"}},
    "neither a text nor one of the model's tokens": {"input": [5, 10**9]},
    "nor one": {"input": [[5, None]]},
    "dimensions must be from 1 to 512": {"input": "a", "dimensions": 513},
    "encoding_format": {"input": "a", "encoding_format": "hex"},
    "too large": {"input": "This is a test " * 512},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_told_in_the_shape_of_the_api(server, message):
    reply = server.ask(V1, WRONG[message])
    assert reply.status == 400
    assert message in reply.json["error"]["message"]
    assert reply.json["error"]["type"] == (
        "exceed_context_size_error" if message == "too large" else "invalid_request_error"
    )


def test_native_embeddings(server, by_token):
    whole = server.model.embed(TEXTS, normalize=False).astype(np.float64)
    norms = {-1: np.ones(3), 1: np.abs(whole).sum(axis=1), 2: np.linalg.norm(whole, axis=1)}
    norms |= {0: np.abs(whole).max(axis=1) / 32760, 3: (np.abs(whole) ** 3).sum(axis=1) ** (1 / 3)}
    for power, norm in norms.items():
        reply = server.ask("/embedding", {"content": TEXTS, "embd_normalize": power})
        found = [one["embedding"] for one in reply.json]
        np.testing.assert_allclose(found, (whole / norm[:, None])[:, None], rtol=1e-5)
    assert server.ask(V1, {"content": "a"}).json == server.ask("/embeddings", {"input": "a"}).json
    reply = by_token.ask("/embeddings", {"input": TEXTS[0]})
    [rows] = by_token.model.embed([TEXTS[0]], pooling="none", normalize=False)
    assert (np.array(reply.json[0]["embedding"], np.float32) == rows).all()
    reply = by_token.ask(V1, {"input": "a"})
    assert (reply.status, "for each token" in reply.json["error"]["message"]) == (400, True)
    reply = server.ask("/embedding", {})
    assert (reply.status, reply.json["error"]["code"]) == (400, 400)


def test_ollama_embeddings(server):
    whole = server.model.embed(TEXTS)
    reply = server.ask("/api/embed", {"model": NAME, "input": TEXTS}).json
    assert (np.array(reply["embeddings"], np.float32) == whole).all()
    assert reply["prompt_eval_count"] == sum(len(server.model.tokenize(t)) for t in TEXTS)
    assert reply["total_duration"] >= reply["load_duration"] > 0
    assert server.ask("/api/embed", {"model": NAME}).json["embeddings"] == []
    long = {"model": NAME, "input": "word " * 600}
    cut = server.ask("/api/embed", long).json["embeddings"]
    assert (np.float32(cut[0]) == server.model.embed(long["input"], truncate=True)).all()
    reply = server.ask("/api/embed", {**long, "truncate": False})
    assert (reply.status, list(reply.json)) == (400, ["error"])
    reply = server.ask("/api/embeddings", {"model": NAME, "prompt": "a"}).json
    assert (np.float32(reply["embedding"]) == server.model.embed("a", normalize=False)).all()
    assert server.ask("/api/embeddings", {"model": NAME}).json == {"embedding": []}
    assert server.ask("/api/show", {"model": NAME}).json["capabilities"] == ["embedding"]


def test_ranks(server):
    query = "How are paths joined?"
    wanted = server.model.rerank(query, TEXTS)
    reply = server.ask(RERANK, {"query": query, "documents": TEXTS, "model": "m"}).json
    assert [(one["index"], one["relevance_score"]) for one in reply["results"]] == wanted
    n_tokens = sum(len(server.model.tokenize(text)) for text in (query, *TEXTS))
    assert reply["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    asked = {"query": query, "documents": [{"text": text} for text in TEXTS], "top_n": 2}
    reply = server.ask("/reranking", {**asked, "return_documents": True}).json
    shown = [(one["index"], one["document"]["text"]) for one in reply["results"]]
    assert shown == [(index, TEXTS[index]) for index, _ in wanted[:2]]
    asked = {"query": query, "texts": TEXTS, "top_n": 99, "return_text": True}
    reply = server.ask("/rerank", asked).json
    assert [(one["index"], one["score"], one["text"]) for one in reply] == [
        (index, score, TEXTS[index]) for index, score in wanted
    ]
    for documents in ([], None, 123, [1, 2, 3]):
        reply = server.ask("/rerank", {"query": query, "documents": documents})
        assert (reply.status, "documents" in reply.json["error"]["message"]) == (400, True)
    assert server.ask("/rerank", {"documents": TEXTS}).status == 400


def test_models_that_cannot_say_so(server, answering):
    for path, body in ((V1, {"input": "a"}), ("/embedding", {"content": "a"})):
        reply = answering.ask(path, body)
        assert (reply.status, "--embedding" in reply.json["error"]["message"]) == (501, True)
    reply = answering.ask("/api/embed", {"model": NAME, "input": "a"})
    assert (reply.status, "--embedding" in reply.json["error"]) == (501, True)
    assert answering.ask(RERANK, {"query": "a", "documents": ["b"]}).status == 501
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/completions", {"prompt": "a"}),
        ("/completion", {"prompt": "a", "stream": True}),
    ):
        reply = server.ask(path, body)
        assert (reply.status, "vectors of texts" in reply.json["error"]["message"]) == (400, True)


def test_requests_at_the_same_time_share_steps(server):
    wanted = {text: server.model.embed(text) for text in (str(n) for n in range(40))}
    before = server.model.health.counts
    with ThreadPoolExecutor(20) as pool:
        replies = pool.map(lambda text: server.ask(V1, {"input": text}), wanted)
        for text, reply in zip(wanted, replies, strict=True):
            assert (vectors(reply)[0] == wanted[text]).all()
    assert server.model.health.counts.n_steps - before.n_steps < 40
    told = server.ask("/metrics").body.decode()
    n_tokens = float(told.split("\nllamacpp:prompt_tokens_total ")[1].split()[0])
    assert n_tokens >= 40


def test_a_client_that_leaves_ends_its_texts(server):
    before, calls = server.model.health.counts, server.model.embedder._hidden._calls

    def n_steps():
        return server.model.health.counts.n_steps - before.n_steps

    server.leave(V1, {"input": [[5] * 500] * 1000}, 0.1, lambda: n_steps() > 0)
    until = time.monotonic() + 20
    while calls and time.monotonic() < until:
        time.sleep(0.02)
    assert not calls
    assert 0 < n_steps() < 900


def test_official_clients(server):
    wanted = server.model.embed(TEXTS)
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="any") as client:
        made = client.embeddings.create(model="m", input=TEXTS)  # asks for base64
        assert (np.float32([one.embedding for one in made.data]) == wanted).all()
        assert made.usage.total_tokens > 0
        made = client.embeddings.create(
            model="m", input=TEXTS[0], dimensions=8, encoding_format="float"
        )
        assert (np.float32(made.data[0].embedding) == server.model.embed(TEXTS[0], dim=8)).all()
        with pytest.raises(openai.BadRequestError, match="dimensions") as raised:
            client.embeddings.create(model="m", input="a", dimensions=10**6)
        assert raised.value.param == "dimensions"
    client = ollama.Client(server.base_url)
    try:
        made = client.embed("m", TEXTS, dimensions=8)
        assert (np.float32(made.embeddings) == server.model.embed(TEXTS, dim=8)).all()
        assert len(client.embeddings("m", TEXTS[0]).embedding) == wanted.shape[1]
    finally:
        client._client.close()


def test_every_path_is_in_the_document(server):
    paths = server.ask("/openapi.json").json["paths"]
    for path in (V1, RERANK, "/rerank", "/embedding", "/embeddings", "/api/embed"):
        assert "requestBody" in paths[path]["post"]
