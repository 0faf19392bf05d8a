"""llama-server's own routes over plain HTTP, and what Ollama's do beside generating."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hub_server import DATA, REPO, kept
from served import NAME, Served, served
from test_cli import rewritten

import qrt
from qrt.server.many import ManyModels
from qrt.server.settings import settings_of

PROMPT = "def f("
MARKS = {"fim_pre": 5, "fim_suf": 6, "fim_mid": 7}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as one:
        yield one


def complete(server: Served, prompt: Any = PROMPT, **fields: Any) -> Any:
    reply = server.ask("/completion", {"prompt": prompt, "n_predict": 8, **fields})
    assert reply.status == 200, reply.body
    return reply.json


def model(server: Served) -> qrt.Model:
    assert server.model is not None
    return server.model


def test_a_completion_whole(server: Served) -> None:
    whole = complete(server, return_tokens=True, seed=7, ignore_eos=True)
    plain = model(server).generate(PROMPT, max_tokens=8, ignore_eos=True)
    assert (whole["content"], tuple(whole["tokens"])) == (plain.text, plain.tokens)
    assert (whole["stop"], whole["stop_type"], whole["stopping_word"]) == (True, "limit", "")
    assert whole["tokens_predicted"] == whole["timings"]["predicted_n"] == 8
    assert whole["prompt"] == f"<s>{PROMPT}"
    settings = whole["generation_settings"]
    assert (settings["seed"], settings["n_predict"], settings["temperature"]) == (7, 8, 0.0)
    assert settings["logit_bias"] == [{"token": 2, "bias": None}]
    assert complete(server)["generation_settings"]["logit_bias"] == []


def test_a_completion_in_parts(server: Served) -> None:
    whole = complete(server, n_probs=2, ignore_eos=True, return_tokens=True)
    asked = {"prompt": PROMPT, "n_predict": 8, "n_probs": 2, "ignore_eos": True, "stream": True}
    *parts, last = server.ask("/completion", asked).events
    assert "".join(part["content"] for part in parts) == whole["content"]
    assert [token for part in parts for token in part["tokens"]] == whole["tokens"]
    assert [part["stop"] for part in parts] == [False] * len(parts)
    probabilities = [one for part in parts for one in part["completion_probabilities"]]
    assert [one["id"] for one in probabilities] == whole["tokens"]
    assert [one["id"] for one in whole["completion_probabilities"]] == whole["tokens"]
    assert all(len(one["top_logprobs"]) == 2 for one in probabilities)
    assert (last["stop"], last["content"], last["stop_type"]) == (True, "", "limit")
    assert last["generation_settings"]["stream"] is True


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.5, "top_k": 3, "top_p": 1.0, "min_p": 0.0},
        {"temperature": 1.5, "top_k": 0, "min_p": 0.02},
        {"temperature": 2.0, "mirostat": 2},
        {"temperature": 0.0},
    ],
)
def test_probabilities_after_sampling(server: Served, sampling: dict[str, Any]) -> None:
    asked = {**sampling, "n_probs": 200, "ignore_eos": True, "seed": 3, "return_tokens": True}
    told = complete(server, **asked, post_sampling_probs=True)
    plain = complete(server, **asked)
    assert told["tokens"] == plain["tokens"]
    both = zip(told["completion_probabilities"], plain["completion_probabilities"], strict=True)
    for after, before in both:
        tops = after["top_probs"]
        probs = [one["prob"] for one in tops]
        assert probs == sorted(probs, reverse=True)
        assert after["prob"] == {one["id"]: one["prob"] for one in tops}[after["id"]]
        assert sum(probs) == pytest.approx(1)
        assert "logprob" not in after
        if sampling.get("top_k") == 3:
            weights = [math.exp(one["logprob"] / 1.5) for one in before["top_logprobs"][:3]]
            assert probs == pytest.approx([one / sum(weights) for one in weights], rel=1e-4)
        if not sampling["temperature"]:
            assert probs == [1.0]


def test_why_it_stopped(server: Served) -> None:
    text = complete(server, ignore_eos=True)["content"]
    stopped = complete(server, ignore_eos=True, stop=[text[3:6], ""])
    assert (stopped["stop_type"], stopped["stopping_word"]) == ("word", text[3:6])
    assert stopped["content"] == text[:3]
    ended = complete(server, "<|user|>What does len do?<|assistant|>", n_predict=-1)
    assert (ended["stop_type"], ended["truncated"]) == ("eos", False)
    full = complete(server, [4000] * 505, n_predict=-1, ignore_eos=True)
    assert (full["stop_type"], full["truncated"], full["tokens_predicted"]) == ("limit", True, 7)


def test_how_far_the_prompt_is(server: Served) -> None:
    prompt = [1, *range(300, 750)]
    n_full = [0, 448]  # pages of 64 tokens
    asked = {"prompt": prompt, "n_predict": 2, "ignore_eos": True, "stream": True}
    asked["return_progress"] = True
    for n_cached in n_full:
        *events, _ = server.ask("/completion", asked).events
        n_told = sum("prompt_progress" in event for event in events)
        told = [event["prompt_progress"] for event in events[:n_told]]
        assert [told[0]["processed"], told[-1]["processed"]] == [n_cached, 451]
        assert {(one["total"], one["cache"]) for one in told} == {(451, n_cached)}
        assert told[0]["time_ms"] == 0 <= told[-1]["time_ms"]
        assert all(event["content"] for event in events[n_told:])
    chat = {"messages": [{"role": "user", "content": "x " * 100}], "stream": True, "max_tokens": 2}
    plain = server.ask("/v1/chat/completions", chat).events
    *events, _ = server.ask("/v1/chat/completions", {**chat, "return_progress": True}).events
    told = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    assert told[-1]["processed"] == told[-1]["total"] > 100
    assert len(events) == len(plain) - 1 + len(told)
    asked = {"input": "y " * 100, "stream": True, "max_output_tokens": 3, "ignore_eos": True}
    asked |= {"return_progress": True, "timings_per_token": True}
    events = server.ask("/v1/responses", asked).events
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    told = [event for event in events if "prompt_progress" in event]
    assert {event["type"] for event in told} == {"response.in_progress"}
    assert told[-1]["prompt_progress"]["processed"] == told[-1]["prompt_progress"]["total"] > 100
    deltas = [event["timings"] for event in events if event["type"].endswith("text.delta")]
    assert deltas[-1]["predicted_n"] > 1
    assert deltas[-1]["predicted_per_second"] > 0 < events[-1]["timings"]["prompt_per_second"]


def test_a_chat_tells_its_prompt_where_it_is_asked_to(server: Served) -> None:
    chat = {"messages": [{"role": "user", "content": "Book"}], "max_tokens": 4, "ignore_eos": True}
    assert "__verbose" not in server.ask("/v1/chat/completions", chat).json
    whole = server.ask("/v1/chat/completions", {**chat, "verbose": True}).json
    native = whole["__verbose"]
    assert native["prompt"].startswith("<s><|user|>Book")
    assert native["content"] == whole["choices"][0]["message"]["content"]
    *_, last = server.ask("/v1/chat/completions", {**chat, "verbose": True, "stream": True}).events
    assert (last["__verbose"]["prompt"], last["__verbose"]["tokens_predicted"]) == (
        native["prompt"],
        4,
    )


def test_an_answer_has_so_much_time(server: Served) -> None:
    asked = {"ignore_eos": True, "context_shift": True, "n_predict": 100_000}
    told = complete(server, **asked, t_max_predict_ms=50)
    assert 1 < told["tokens_predicted"] < 100_000
    assert (told["stop_type"], told["truncated"]) == ("limit", told["tokens_predicted"] > 500)
    assert complete(server, t_max_predict_ms=0)["timings"]["predicted_n"] > 1


def test_forms_of_prompts(server: Served) -> None:
    ids = model(server).tokenize(PROMPT)
    alone = complete(server)
    assert complete(server, ids)["content"] == alone["content"]
    assert complete(server, [1, PROMPT])["prompt"] == alone["prompt"]
    several = complete(server, [ids, PROMPT, {"prompt_string": PROMPT}, [1, PROMPT]])
    assert [one["content"] for one in several] == [alone["content"]] * 4
    assert [one["index"] for one in several] == [0, 1, 2, 3]
    assert [one["index"] for one in complete(server, n_cmpl=2)] == [0, 1]


def test_nothing_but_the_prompt_is_computed(server: Served) -> None:
    fields = ["content", "tokens_predicted", "generation_settings/n_keep", "no/such"]
    told = complete(server, n_predict=0, response_fields=fields)
    assert told == {"content": "", "tokens_predicted": 0, "generation_settings/n_keep": 0}


@pytest.mark.parametrize("as_object", [False, True])
def test_texts_are_biased_by_their_tokens(server: Served, as_object: bool) -> None:
    text = complete(server, ignore_eos=True)["content"]
    token = model(server).tokenize(text, add_special=False)[0]
    first = model(server).tokenizer.token_bytes(token).decode()
    for what, bias in ((first, False), (token, -500)):
        given: Any = {str(what): bias} if as_object else [[what, bias]]
        assert not complete(server, logit_bias=given)["content"].startswith(first)


def test_answers_that_follow_a_grammar(server: Served) -> None:
    assert complete(server, grammar='root ::= "yes"{2}')["content"] == "yesyes"
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    schema["additionalProperties"] = False
    assert json.loads(complete(server, json_schema=schema, n_predict=40)["content"]) == {"a": 1}


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/completion", {}, 400, "prompt"),
        ("/completion", {"prompt": []}, 400, "empty"),
        ("/completion", {"prompt": [[99999]]}, 400, "99999"),
        ("/completion", {"prompt": "x", "temperature": "hot"}, 400, "temperature"),
        ("/completion", {"prompt": "x", "lora": [{"id": 0, "scale": 1}]}, 400, "lora"),
        ("/completion", {"prompt": "x", "logit_bias": [[4096, 1]]}, 400, "logit_bias"),
        ("/completion", {"prompt": {"multimodal_data": []}}, 400, "prompt"),
        ("/infill", {"input_prefix": "a"}, 400, "input_suffix"),
        ("/infill", {"input_prefix": "a", "input_suffix": "b"}, 501, "middle"),
        ("/detokenize", {"tokens": [-1]}, 400, "-1"),
        ("/rerank", {"query": "a", "documents": ["b"]}, 501, "rank"),
        ("/slots/0?action=save", {}, 501, "--slot-save-path"),
    ],
)
def test_errors_in_its_own_shape(
    server: Served, path: str, body: dict[str, Any], status: int, word: str
) -> None:
    reply = server.ask(path, body)
    error = reply.json["error"]
    assert (reply.status, error["code"]) == (status, status)
    assert word in error["message"]
    assert error["type"] in ("invalid_request_error", "not_supported_error")


def test_too_long_a_prompt_is_told_in_numbers(server: Served) -> None:
    error = server.ask("/completion", {"prompt": "x " * 600}).json["error"]
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 512)
    assert error["n_prompt_tokens"] > 512


def test_tokens_there_and_back(server: Served) -> None:
    text = "len(ö) <s>"
    ids = server.ask("/tokenize", {"content": text, "parse_special": False}).json["tokens"]
    assert ids == model(server).tokenize(text, add_special=False)
    assert server.ask("/detokenize", {"tokens": ids}).json == {"content": text}
    pieces = server.ask("/tokenize", {"content": text, "with_pieces": True}).json["tokens"]
    assert pieces[-1] == {"id": 1, "piece": "<s>"}
    assert {"id": ids[2], "piece": [0xC3]} in pieces
    marked = server.ask("/tokenize", {"content": [7, "len"], "add_special": True}).json["tokens"]
    assert marked[0] == 7


def test_the_prompt_of_a_chat(server: Served) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    prompts = [
        server.ask("/apply-template", {"messages": chat, **fields}).json["prompt"]
        for fields in (
            {},
            {"add_generation_prompt": False},
            {"continue_final_message": True},
        )
    ]
    whole = "<|user|>a<|assistant|>b</s>"
    assert prompts == [f"{whole}<|assistant|>", whole, "<|user|>a<|assistant|>b"]


def test_what_is_loaded_and_what_runs(server: Served) -> None:
    props = server.ask("/props").json
    assert (props["model_path"], props["default_generation_settings"]["n_ctx"]) == (
        "pydoc.gguf",
        512,
    )
    assert props["chat_template"] == model(server).chat_template.source
    slots = server.ask("/slots").json
    assert len(slots) == props["total_slots"] == model(server).max_running
    assert not any(slot["is_processing"] for slot in slots)
    with model(server).stream("def f(", ignore_eos=True) as stream:
        next(stream)
        slots = server.ask("/slots").json
        assert [slot["is_processing"] for slot in slots].count(True) == 1
        assert [slot["id"] for slot in slots] == list(range(len(slots)))
    assert server.ask("/lora-adapters").json == []


def test_a_gap_is_filled(tmp_path: Any) -> None:
    roles = {f"tokenizer.ggml.{role}_token_id": token for role, token in MARKS.items()}
    path = rewritten(tmp_path / "fills.gguf", metadata=roles)
    with qrt.load(path) as filler, served(filler) as one:
        tokens = filler.tokenize

        def prompt(**fields: Any) -> str:
            body = {"n_predict": 1, "response_fields": ["prompt"], **fields}
            reply = one.ask("/infill", body)
            assert reply.status == 200, reply.body
            told: str = reply.json["prompt"]
            return told

        def spelled(*parts: str | int) -> str:
            ids = [1]
            for part in parts:
                ids += [part] if isinstance(part, int) else tokens(part, add_special=False)
            return filler.detokenize(ids, special=True)

        plain = {"input_prefix": "a\n", "input_suffix": "</s>z"}
        assert prompt(**plain, prompt="b") == spelled(5, "a\nb", 6, "</s>z", 7)
        extra = [{"text": "other"}]
        with_other = prompt(**plain, input_extra=extra)
        assert with_other.endswith(spelled(5, "a\n", 6, "</s>z", 7).removeprefix("<s>"))
        assert "other" in with_other
        long = prompt(input_prefix="x " * 600 + "END", input_suffix="BEGIN" + " y" * 600)
        assert "END" in long
        assert "BEGIN" in long
        asked = {"model": "m", "prompt": "a", "suffix": "z", "stream": False}
        assert one.ask("/api/generate", asked).status == 200
        assert "insert" in one.ask("/api/show", {"model": "m"}).json["capabilities"]


@pytest.mark.usefixtures("hub")
def test_ollama_fetches_a_model(server: Served, hub_cache: Any) -> None:
    reply = server.ask("/api/pull", {"model": REPO})
    lines = [json.loads(line) for line in reply.body.decode().splitlines()]
    assert [lines[0]["status"], lines[-1]["status"]] == ["pulling manifest", "success"]
    told = [line for line in lines if "total" in line]
    assert told[-1]["completed"] == told[-1]["total"] == len(DATA)
    assert told[-1]["digest"].startswith("sha256:")
    assert kept(hub_cache)
    for name, status in (("owner/none", 404), ("../x", 400), ("", 400)):
        reply = server.ask("/api/pull", {"model": name, "stream": False})
        assert (reply.status, list(reply.json)) == (status, ["error"]), reply.body


def test_a_model_that_is_not_loaded_is_shown_by_its_file(server: Served) -> None:
    with served(models=ManyModels(settings_of({}))) as one:
        shown = one.ask("/api/show", {"model": NAME})
        assert shown.json == server.ask("/api/show", {"model": NAME}).json
        assert one.ask("/api/ps").json["models"] == []
        assert one.ask("/api/show", {"model": "none"}).status == 404


def test_ollama_lists_models(server: Served) -> None:
    (listed,) = server.ask("/api/tags").json["models"]
    assert (listed["name"], listed["details"]["parameter_size"]) == (NAME, "11.0M")
    shown = server.ask("/api/show", {"name": NAME}).json
    assert shown["model_info"]["llama.context_length"] == 512
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    whole = server.ask("/api/show", {"model": NAME, "verbose": True}).json
    assert len(whole["model_info"]["tokenizer.ggml.tokens"]) == 4096
