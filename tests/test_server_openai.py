"""OpenAI's routes over plain HTTP: what each field does, and the shapes of answers and chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from served import NAME, Served, served

ASKED = [{"role": "user", "content": "What does len do?"}]
ANSWER = "`len(obj)`: Return the number of items in a container."
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as one:
        yield one


def chat(server: Served, **fields: Any) -> dict[str, Any]:
    reply = server.ask(CHAT, {"messages": ASKED, **fields})
    assert reply.status == 200, reply.body
    whole: dict[str, Any] = reply.json
    return whole


def text(server: Served, prompt: Any = "def f(", **fields: Any) -> list[dict[str, Any]]:
    reply = server.ask(TEXT, {"prompt": prompt, **fields})
    assert reply.status == 200, reply.body
    choices: list[dict[str, Any]] = reply.json["choices"]
    return choices


def test_an_answer_whole(server: Served) -> None:
    whole = chat(server)
    assert whole["object"] == "chat.completion"
    assert whole["model"] == NAME
    (choice,) = whole["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER}
    assert choice["finish_reason"] == "stop"
    usage, timings = whole["usage"], whole["timings"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert timings["predicted_n"] == usage["completion_tokens"]
    assert timings["cache_n"] == usage["prompt_tokens_details"]["cached_tokens"]
    assert timings["prompt_n"] + timings["cache_n"] == usage["prompt_tokens"]


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_the_chunks_of_a_stream_make_the_whole(server: Served, path: str) -> None:
    body: dict[str, Any] = {"n": 2, "seed": 7, "temperature": 1.0, "max_tokens": 12}
    body |= {"messages": ASKED} if path == CHAT else {"prompt": "def f("}
    whole = server.ask(path, body).json
    reply = server.ask(path, {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.body.endswith(b"data: [DONE]\n\n")
    *chunks, last = reply.events
    assert last["choices"] == []
    for name in ("prompt_tokens", "completion_tokens"):
        assert last["usage"][name] == whole["usage"][name]
    assert len({chunk["id"] for chunk in chunks}) == 1
    for choice in whole["choices"]:
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice["index"]]
        if path == CHAT:
            assert own[0]["delta"] == {"role": "assistant", "content": None}
            assert own[-1]["delta"] == {}
            pieces = [part["delta"].get("content") or "" for part in own]
            assert "".join(pieces) == choice["message"]["content"]
        else:
            assert "".join(part["text"] for part in own) == choice["text"]
        assert [part["finish_reason"] for part in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] == choice["finish_reason"]


def test_seeds_in_a_row_and_the_same_again(server: Served) -> None:
    fields = {"seed": 5, "temperature": 1.5, "max_tokens": 8, "n": 3}
    first = [one["text"] for one in text(server, **fields)]
    assert first == [one["text"] for one in text(server, **fields)]
    assert len(set(first)) == 3
    assert text(server, **{**fields, "seed": 6, "n": 1})[0]["text"] == first[1]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_tokens_at_most(server: Served, name: str) -> None:
    whole = chat(server, **{name: 3})
    assert whole["usage"]["completion_tokens"] == 3
    assert whole["choices"][0]["finish_reason"] == "length"
    assert chat(server, **{name: -1})["choices"][0]["message"]["content"] == ANSWER


def test_stop_strings(server: Served) -> None:
    for stop in ("the", ["", "number", "the"]):
        (choice,) = chat(server, stop=stop)["choices"]
        assert choice["message"]["content"] == "`len(obj)`: Return "
        assert choice["finish_reason"] == "stop"
    assert chat(server, stop=None)["choices"][0]["message"]["content"] == ANSWER


def test_log_probabilities(server: Served) -> None:
    (choice,) = chat(server, logprobs=True, top_logprobs=3, max_tokens=4)["choices"]
    content = choice["logprobs"]["content"]
    assert "".join(one["token"] for one in content) == choice["message"]["content"]
    for one in content:
        assert bytes(one["bytes"]).decode() == one["token"]
        assert len(one["top_logprobs"]) == 3
        assert one["top_logprobs"][0]["logprob"] >= one["logprob"] - 1e-6
    (choice,) = chat(server, logprobs=True, max_tokens=1)["choices"]
    assert choice["logprobs"]["content"][0]["top_logprobs"] == []
    chunks = server.ask(
        CHAT, {"messages": ASKED, "logprobs": True, "max_tokens": 4, "stream": True}
    ).events
    told = [one for c in chunks if (one := c["choices"][0]["logprobs"]) is not None]
    assert [t["content"][0]["token"] for t in told] == [one["token"] for one in content]


def test_log_probabilities_of_a_text_and_its_prompt(server: Served) -> None:
    (choice,) = text(server, "def f(x", logprobs=2, max_tokens=3, echo=True)
    assert choice["text"].startswith("def f(x")
    lists = choice["logprobs"]
    assert "".join(lists["tokens"]) == choice["text"]
    assert all(logprob < 0 for logprob in lists["token_logprobs"])  # the first follows a BOS
    for token, offset in zip(lists["tokens"], lists["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)
    (scored,) = text(server, choice["text"], logprobs=2, max_tokens=0, echo=True)
    assert scored["text"] == choice["text"]
    assert scored["finish_reason"] == "length"
    if scored["logprobs"]["tokens"] == lists["tokens"]:
        assert np.allclose(
            scored["logprobs"]["token_logprobs"][1:], lists["token_logprobs"][1:], atol=1e-4
        )
    (alone,) = text(server, "def f(x", logprobs=2, max_tokens=3)
    n_new = len(alone["logprobs"]["tokens"])
    for name, values in alone["logprobs"].items():
        assert values == lists[name][-n_new:]


def test_prompts_as_lists_and_ids(server: Served) -> None:
    assert server.model is not None
    ids = server.model.tokenize("def f(")
    (alone,) = text(server, max_tokens=4)
    for prompts, count in ((ids, 1), ([ids], 1), (["def f(", ids], 2)):
        choices = text(server, prompts, max_tokens=4)
        assert [one["index"] for one in choices] == list(range(count))
        assert {one["text"] for one in choices} == {alone["text"]}
    n_vocab = server.model.info.n_vocab
    for wrong in ([], [1, "a"], [-1], [n_vocab], [2**31], [2**63], [2**70], [True], [[1.5]], [{}]):
        assert server.ask(TEXT, {"prompt": wrong}).status == 400


def test_every_sampler_by_its_name(server: Served) -> None:
    fields = {
        "temperature": 0.9,
        "top_k": 20,
        "top_p": 0.9,
        "min_p": 0.01,
        "typical_p": 0.9,
        "top_n_sigma": 2.0,
        "repeat_penalty": 1.1,
        "repeat_last_n": 32,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "dry_multiplier": 0.5,
        "dry_base": 1.5,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": -1,
        "dry_sequence_breakers": ["\n"],
        "xtc_probability": 0.1,
        "xtc_threshold": 0.2,
        "dynatemp_range": 0.1,
        "dynatemp_exponent": 1.2,
        "min_keep": 1,
        "samplers": ["top_k", "temperature"],
        "seed": 3,
        "ignore_eos": True,
        "n_keep": 4,
        "logit_bias": {"100": -100},
    }
    assert server.model is not None
    keywords = {**fields, "logit_bias": {100: -100}}
    expected = server.model.generate("def f(", max_tokens=12, **keywords)
    (choice,) = text(server, max_tokens=12, **fields)
    assert choice["text"] == str(expected)
    for name, value in (("mirostat", 2), ("mirostat_tau", 3.0), ("mirostat_eta", 0.2)):
        assert text(server, max_tokens=2, **{name: value})


def test_biases_forbid_and_force(server: Served) -> None:
    assert server.model is not None
    first = server.model.tokenize("`", add_special=False)[0]
    for bias in ({str(first): -1000}, {str(first): False}, [[first, -1000]], [[first, False]]):
        answer = chat(server, logit_bias=bias, max_tokens=4)["choices"][0]["message"]["content"]
        assert "`" not in answer[:1]
    assert chat(server, logit_bias={}, max_tokens=1)
    for token in (-1, server.model.info.n_vocab, 2**31, 2**63, "x", "१", 10**40):
        error = server.ask(CHAT, {"messages": ASKED, "logit_bias": {str(token): 1}}).json["error"]
        assert error["param"] == "logit_bias"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "cook", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"temperature": 1000}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": 2**80}, "n"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": 5}, "stop"),
        ({"samplers": ["none"]}, "samplers"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream_options": {"include_usage": 1}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools"),
    ],
)
def test_what_is_wrong_is_named(server: Served, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        reply = server.ask(CHAT, {"messages": ASKED, **fields, "stream": stream})
        assert reply.status == 400, reply.body
        error = reply.json["error"]
        assert error["param"] == param, error
        assert error["type"] == "invalid_request_error"


def test_what_clients_send_beside(server: Served) -> None:
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": None},
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None},
        {"role": "user", "content": "What does len do?", "id": "1"},
    ]
    whole = chat(
        server,
        messages=messages,
        model="some-other-model",
        max_tokens=2,
        tools=[],
        tool_choice=None,
        response_format={"type": "text"},
        stop=None,
        user="u",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        logit_bias=None,
        stream=None,
        stream_options=None,
        seed=-1,
        n=None,
        timings_per_token=True,
        cache_prompt=True,
        reasoning_effort="low",
        chat_template_kwargs={"enable_thinking": False},
    )
    assert whole["usage"]["completion_tokens"] == 2


def test_a_prompt_that_is_too_long_says_both_numbers(server: Served) -> None:
    long = [{"role": "user", "content": "word " * 1000}]
    error = server.ask(CHAT, {"messages": long}).json["error"]
    assert error["code"] == "context_length_exceeded"
    assert "512" in error["message"]
    assert server.model is not None
    started = time.monotonic()
    error = server.ask(TEXT, {"prompt": "word and " * 1_000_000}).json["error"]
    assert error["code"] == "context_length_exceeded"
    assert time.monotonic() - started < 5
    ids = [5] * server.model.info.n_ctx
    assert server.ask(TEXT, {"prompt": ids}).json["error"]["code"] == "context_length_exceeded"
    (choice,) = text(server, ids[:-1], max_tokens=5, ignore_eos=True)
    assert choice["finish_reason"] == "length"


def test_models(server: Served) -> None:
    (one,) = server.ask("/v1/models").json["data"]
    assert (one["id"], one["object"], one["meta"]["n_vocab"]) == (NAME, "model", 4096)
    assert server.ask(f"/v1/models/{NAME}").json == one
    assert server.ask("/v1/models/a/b").json["error"]["code"] == "model_not_found"
    assert server.ask(TEXT, {"prompt": "a", "suffix": "b"}).json["error"]["param"] == "suffix"


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}},
    "required": ["n", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_follows_a_schema(server: Served, stream: bool) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    options = {"stream": stream, "max_tokens": 60, "logit_bias": {"5": -10}}
    for fields in (
        {"response_format": wanted},
        {"json_schema": SCHEMA},
        {"grammar": 'root ::= "{\\"n\\":1,\\"kind\\":\\"a\\"}"'},
    ):
        reply = server.ask(CHAT, {"messages": ASKED, **fields, **options})
        assert reply.status == 200, reply.body
        if stream:
            deltas = [event["choices"][0]["delta"] for event in reply.events]
            answer = "".join(delta.get("content") or "" for delta in deltas)
        else:
            answer = reply.json["choices"][0]["message"]["content"]
        assert set(json.loads(answer)) == {"n", "kind"}
    form = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
    whole = server.ask("/v1/responses", {"input": "x", "text": form, "max_output_tokens": 60}).json
    assert set(json.loads(whole["output"][0]["content"][0]["text"])) == {"n", "kind"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"json_schema": {"type": "no such"}}, None),
        ({"grammar": "root ::= ("}, None),
        ({"grammar": "x", "json_schema": {}}, "response_format"),
    ],
)
def test_a_form_that_there_is_not(
    server: Served, fields: dict[str, Any], param: str | None, stream: bool
) -> None:
    reply = server.ask(CHAT, {"messages": ASKED, **fields, "stream": stream})
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
