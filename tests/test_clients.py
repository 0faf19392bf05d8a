"""Official clients against a server of ours, their code unchanged."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager

import anthropic
import ollama
import openai
import pytest
from asked import ASKED, KEY
from caller import calling
from served import served

import qrt
from qrt.server import errors
from qrt.server.models import OneModel


@pytest.fixture(scope="module")
def by_openai(keyed_server):
    with openai.OpenAI(base_url=f"{keyed_server.base_url}/v1", api_key=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def by_anthropic(keyed_server):
    with anthropic.Anthropic(base_url=keyed_server.base_url, api_key=KEY) as client:
        yield client


@contextmanager
def ollama_client(base_url, key=KEY):
    client = ollama.Client(base_url, headers={"Authorization": f"Bearer {key}"})
    try:
        yield client
    finally:
        client._client.close()


@pytest.fixture(scope="module")
def by_ollama(keyed_server):
    with ollama_client(keyed_server.base_url) as client:
        yield client


def test_openai_chat(by_openai, reply):
    done = by_openai.chat.completions.create(model="pydoc", messages=ASKED)
    [choice] = done.choices
    assert (choice.message.content, choice.finish_reason) == (reply.text, "stop")
    assert done.usage.completion_tokens == len(reply.tokens)
    usage = {"stream_options": {"include_usage": True}}
    with by_openai.chat.completions.create(
        model="pydoc", messages=ASKED, stream=True, **usage
    ) as chunks:
        *parts, last = list(chunks)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == reply.text
    assert parts[-1].choices[0].finish_reason == "stop"
    assert last.usage.total_tokens == done.usage.total_tokens


def test_openai_others(by_openai, keyed_server):
    assert [model.id for model in by_openai.models.list()] == ["pydoc"]
    done = by_openai.completions.create(model="pydoc", prompt="import", max_tokens=4)
    assert done.choices[0].text == keyed_server.model.generate("import", max_tokens=4).text


def test_openai_errors(by_openai, keyed_server):
    with pytest.raises(openai.BadRequestError, match="temperature") as raised:
        by_openai.chat.completions.create(model="m", messages=ASKED, temperature=1e9)
    assert raised.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as raised:
        by_openai.chat.completions.create(model="m", messages=ASKED * 100, stream=True)
    assert raised.value.code == "context_length_exceeded"
    with (
        openai.OpenAI(base_url=f"{keyed_server.base_url}/v1", api_key="sk-other") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_anthropic_messages(by_anthropic, reply):
    said = {"model": "pydoc", "messages": ASKED, "max_tokens": 200}
    done = by_anthropic.messages.create(**said)
    assert [block.text for block in done.content] == [reply.text]
    assert (done.stop_reason, done.usage.output_tokens) == ("end_turn", len(reply.tokens))
    counted = by_anthropic.messages.count_tokens(model="pydoc", messages=ASKED)
    assert counted.input_tokens == reply.n_prompt_tokens
    with by_anthropic.messages.stream(**said) as stream:
        assert "".join(stream.text_stream) == reply.text
        message = stream.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == (
        "end_turn",
        len(reply.tokens),
    )
    done = by_anthropic.messages.create(**said, stop_sequences=["path"])
    assert (done.stop_reason, done.stop_sequence) == ("stop_sequence", "path")


def test_anthropic_errors(by_anthropic, keyed_server):
    asked = {"model": "pydoc", "messages": ASKED, "max_tokens": 5}
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        by_anthropic.messages.create(**asked, extra_body={"temperature": "hot"})
    with pytest.raises(anthropic.BadRequestError, match="context"):
        by_anthropic.messages.create(**asked | {"messages": ASKED * 100}, stream=True)
    with (
        anthropic.Anthropic(base_url=keyed_server.base_url, api_key="other") as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(**asked)


def test_ollama_chat(by_ollama, reply):
    done = by_ollama.chat("pydoc", ASKED)
    assert (done.message.content, done.done_reason) == (reply.text, "stop")
    assert (done.prompt_eval_count, done.eval_count) == (
        reply.n_prompt_tokens,
        len(reply.tokens),
    )
    assert min(done.total_duration, done.prompt_eval_duration, done.eval_duration) > 1000
    parts = list(by_ollama.chat("pydoc", ASKED, stream=True))
    assert "".join(part.message.content for part in parts) == reply.text
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_ollama_generate(by_ollama, keyed_server, reply):
    asked = ASKED[0]["content"]
    done = by_ollama.generate("pydoc", asked, options={"num_predict": 3})
    assert (reply.text.startswith(done.response), done.done_reason) == (True, "length")
    raw = by_ollama.generate("pydoc", "import", raw=True, options={"num_predict": 3})
    assert raw.response == keyed_server.model.generate("import", max_tokens=3).text
    assert by_ollama.generate("pydoc").done_reason == "load"
    assert by_ollama.generate("pydoc", keep_alive=0).done_reason == "unload"
    with pytest.raises(ollama.ResponseError, match="messages"):
        by_ollama.generate("pydoc", asked, context=[1])


def test_ollama_models(by_ollama):
    assert [model.model for model in by_ollama.list().models] == ["pydoc"]
    assert [model.context_length for model in by_ollama.ps().models] == [512]
    shown = by_ollama.show("pydoc")
    assert (shown.details.family, shown.details.quantization_level) == ("llama", "Q8_0")
    assert "completion" in shown.capabilities


def test_ollama_errors(by_ollama, keyed_server):
    with pytest.raises(ollama.ResponseError, match="temperature") as raised:
        by_ollama.chat("pydoc", ASKED, options={"temperature": "hot"})
    assert raised.value.status_code == 400
    with (
        ollama_client(keyed_server.base_url, "other") as stranger,
        pytest.raises(ollama.ResponseError) as raised,
    ):
        stranger.list()
    assert raised.value.status_code == 401


LOOK = {"type": "object", "properties": {"at": {"type": "string"}}}
OPENAI_LOOK = {"type": "function", "function": {"name": "look", "parameters": LOOK}}


@pytest.fixture(scope="module")
def caller():
    with calling() as running:
        yield running


def test_openai_tools(caller):
    with openai.OpenAI(base_url=f"{caller.base_url}/v1", api_key="any") as client:
        asked = {"model": "m", "messages": ASKED, "tools": [OPENAI_LOOK]}
        with client.chat.completions.stream(**asked) as stream:
            whole = stream.until_done().get_final_completion()
    [choice] = whole.choices
    [call] = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "I look.")
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": "ä\n"})


def test_anthropic_tools(caller):
    told = [
        ("thinking", "Hm.", None),
        ("text", "I look.", None),
        ("tool_use", "look", {"at": "ä\n"}),
    ]

    def shown(message):
        assert message.stop_reason == "tool_use"
        blocks = [block.model_dump() for block in message.content]
        texts = [block.get("thinking") or block.get("text") or block["name"] for block in blocks]
        kinds = [block["type"] for block in blocks]
        return list(zip(kinds, texts, [block.get("input") for block in blocks], strict=True))

    with anthropic.Anthropic(base_url=caller.base_url, api_key="any") as client:
        asked = {"model": "m", "max_tokens": 200}
        tools = [{"name": "look", "description": "Looks.", "input_schema": LOOK}]
        done = client.messages.create(messages=ASKED, tools=tools, **asked)
        assert shown(done) == told
        with client.messages.stream(messages=ASKED, tools=tools, **asked) as stream:
            assert shown(stream.get_final_message()) == told
        result = {"type": "tool_result", "tool_use_id": done.content[-1].id, "content": "Seen."}
        again = [
            *ASKED,
            {"role": "assistant", "content": done.content},
            {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
        ]
        counted = client.messages.count_tokens(messages=again, tools=tools, model="m")
        assert counted.input_tokens > done.usage.input_tokens
        source = {"type": "base64", "media_type": "image/png", "data": ""}
        picture = {"role": "user", "content": [{"type": "image", "source": source}]}
        with pytest.raises(anthropic.BadRequestError, match="an image"):
            client.messages.create(messages=[picture], **asked)


def test_ollama_tools(caller):
    with ollama_client(caller.base_url) as client:
        whole = client.chat("m", ASKED, tools=[OPENAI_LOOK], think=True)
        parts = list(client.chat("m", ASKED, tools=[OPENAI_LOOK], stream=True))
        message = whole.message
        assert (message.thinking, message.content) == ("Hm.", "I look.")
        assert "".join(part.message.thinking or "" for part in parts) == "Hm."
        for calls in (message.tool_calls, [c for p in parts for c in p.message.tool_calls or ()]):
            assert [(c.function.name, c.function.arguments) for c in calls] == [
                ("look", {"at": "ä\n"})
            ]
        result = {"role": "tool", "tool_name": "look", "content": "Seen."}
        again = client.chat("m", [*ASKED, message, result], tools=[OPENAI_LOOK])
        assert again.prompt_eval_count > whole.prompt_eval_count


def test_json_schema(by_openai, by_anthropic, by_ollama):
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["function", "class"]}},
        "required": ["kind"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    by_all = [
        by_openai.chat.completions.create(model="m", messages=ASKED, response_format=form)
        .choices[0]
        .message.content,
        by_anthropic.messages.create(
            model="m",
            messages=ASKED,
            max_tokens=100,
            output_config={"format": {"type": "json_schema", "schema": schema}},
        )
        .content[0]
        .text,
        by_ollama.chat("m", ASKED, format=schema).message.content,
    ]
    assert [json.loads(text) for text in by_all] == [{"kind": "function"}] * 3


def test_tools_that_must_be_called(by_openai, by_anthropic):
    kinds = {"type": "object", "properties": {"at": {"enum": ["here", "there"]}}}
    kinds["required"] = ["at"]
    functions = [
        {"type": "function", "function": {"name": name, "parameters": kinds}}
        for name in ("look", "leap")
    ]
    for choice, names in (("required", ("look", "leap")), *[(functions[1], ("leap",))] * 2):
        chosen = choice if isinstance(choice, str) else choice | {"function": {"name": "leap"}}
        done = by_openai.chat.completions.create(
            model="m",
            messages=ASKED,
            tools=functions,
            tool_choice=chosen,
            parallel_tool_calls=False if choice == "required" else openai.omit,
        )
        [said] = done.choices
        usage = done.usage
        assert 0 <= usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens
        function = said.message.tool_calls[0].function
        assert (said.finish_reason, function.name in names) == ("tool_calls", True)
        assert json.loads(function.arguments)["at"] in ("here", "there")
    tools = [{"name": name, "input_schema": kinds} for name in ("look", "leap")]
    for choice, names in (
        ({"type": "any", "disable_parallel_tool_use": True}, ("look", "leap")),
        ({"type": "tool", "name": "leap"}, ("leap",)),
    ):
        done = by_anthropic.messages.create(
            model="m", messages=ASKED, tools=tools, tool_choice=choice, max_tokens=200
        )
        block = done.content[-1]
        assert (done.stop_reason, block.name in names) == ("tool_use", True)
        assert block.input["at"] in ("here", "there")


def test_clients_ask_again_while_the_model_is_loaded(monkeypatch):
    monkeypatch.setitem(errors._RETRY_S, 503, 0.2)
    models = OneModel("pydoc")
    with served(models=models) as running, qrt.load() as model:
        for ask in (_openai_says, _anthropic_says):
            models._served = None
            threading.Timer(0.1, models.put, [model]).start()
            assert ask(running.base_url) == model.chat(ASKED).text
        models._served = None
        with (
            ollama_client(running.base_url) as client,
            pytest.raises(ollama.ResponseError, match="being loaded") as raised,
        ):
            client.chat("pydoc", ASKED)
        assert raised.value.status_code == 503


def test_clients_ask_again_when_the_queue_is_full():
    with qrt.load(max_running=1, max_waiting=1) as model, served(model) as running:
        over = threading.Event()
        options = {"ignore_eos": True, "context_shift": True, "cancel": over}
        threads = [
            threading.Thread(target=model.generate, args=("def f(",), kwargs=options)
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while len(model.health.generations) < 2:
            time.sleep(0.01)
        with (
            openai.OpenAI(
                base_url=f"{running.base_url}/v1", api_key="any", max_retries=0
            ) as client,
            pytest.raises(openai.RateLimitError),
        ):
            client.chat.completions.create(model="m", messages=ASKED)
        with (
            anthropic.Anthropic(base_url=running.base_url, api_key="any", max_retries=0) as client,
            pytest.raises(anthropic.RateLimitError),
        ):
            client.messages.create(model="m", messages=ASKED, max_tokens=5, stream=True)
        threading.Timer(0.1, over.set).start()
        said = _openai_says(running.base_url)
        for thread in threads:
            thread.join()
        assert said == model.chat(ASKED).text


def _openai_says(base_url):
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="any") as client:
        return client.chat.completions.create(model="m", messages=ASKED).choices[0].message.content


def _anthropic_says(base_url):
    with anthropic.Anthropic(base_url=base_url, api_key="any") as client:
        return client.messages.create(model="m", messages=ASKED, max_tokens=200).content[0].text
