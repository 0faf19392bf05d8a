"""OpenAI's routes over plain HTTP: thoughts, calls of tools and the items of responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from caller import REPLY, TEMPLATE, Said, calling
from served import NAME, Served, served

import qrt
from qrt.server.models import OneModel

ASKED = [{"role": "user", "content": "What does len do?"}]
CHAT = "/v1/chat/completions"
LOOK = {"name": "look"}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "look", "parameters": {"properties": {"at": {"type": "string"}}}},
    }
]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as one:
        yield one


def chat(server: Served, **fields: Any) -> dict[str, Any]:
    reply = server.ask(CHAT, {"messages": ASKED, **fields})
    assert reply.status == 200, reply.body
    whole: dict[str, Any] = reply.json
    return whole


@pytest.fixture(scope="module")
def caller() -> Iterator[Served]:
    with calling() as one:
        yield one


def test_calls_and_thoughts_whole(caller: Served) -> None:
    whole = chat(caller, tools=TOOLS)
    (choice,) = whole["choices"]
    message = choice["message"]
    assert choice["finish_reason"] == "tool_calls"
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "I look.")
    assert 0 < whole["usage"]["completion_tokens_details"]["reasoning_tokens"] < 8
    (call,) = message["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "look"
    assert json.loads(call["function"]["arguments"]) == {"at": "ä\n"}
    again = [*ASKED, message, {"role": "tool", "tool_call_id": call["id"], "content": "nothing"}]
    assert chat(caller, messages=again, tools=TOOLS)["usage"]["prompt_tokens"] > 0


def test_calls_and_thoughts_as_they_come(caller: Served) -> None:
    events = caller.ask(CHAT, {"messages": ASKED, "tools": TOOLS, "stream": True}).events
    deltas = [event["choices"][0]["delta"] for event in events]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "Hm."
    assert "".join(d.get("content") or "" for d in deltas) == "I look."
    calls = [call for d in deltas for call in d.get("tool_calls", ())]
    assert calls[0]["function"] == {"name": "look", "arguments": ""}
    assert calls[0]["id"]
    assert not any("id" in call for call in calls[1:])
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert json.loads(arguments) == {"at": "ä\n"}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": LOOK}])
def test_a_model_can_be_made_to_call(server: Served, choice: Any) -> None:
    pytest.importorskip("llguidance")
    tools = [{"type": "function", "function": {**LOOK, "parameters": {"properties": {}}}}]
    reply = chat(server, tools=tools, tool_choice=choice, parallel_tool_calls=False, max_tokens=99)
    assert reply["choices"][0]["finish_reason"] in ("tool_calls", "length")
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look"
    asked = {"messages": ASKED, "tools": tools, "tool_choice": {"function": {"name": "storm"}}}
    assert server.ask(CHAT, asked).status == 400


def test_calls_of_strict_tools_follow_their_schemas() -> None:
    pytest.importorskip("llguidance")
    opening = 'Hm <tool_call>\n{"name": "look", "arguments": {"at": '
    at = {"type": "object", "properties": {"at": {"enum": [7]}}, "required": ["at"]}
    look = {**LOOK, "parameters": at}
    body = {"messages": ASKED, "max_tokens": 40}
    paths = {
        CHAT: {**body, "tools": [{"type": "function", "function": {**look, "strict": True}}]},
        "/v1/responses": {"input": "x", "tools": [{"type": "function", **look}]},
        "/v1/messages": {**body, "tools": [{**LOOK, "input_schema": at, "strict": True}]},
    }
    with qrt.load(chat_template=TEMPLATE) as model:
        options = {"logits_processors": [Said(model, opening, ends=False)]}
        with served(models=OneModel(NAME, model, options=options)) as one:
            for path, asked in paths.items():
                reply = one.ask(path, asked)
                assert reply.status == 200, reply.body
                said = reply.body.decode().replace("\\", "").replace(" ", "")
                assert '{"at":7}' in said, said
            lax = {**paths["/v1/responses"], "tools": [{**look, "type": "function"}]}
            lax["tools"][0]["parameters"] = {"properties": {"at": {"pattern": "(?=a)"}}}
            assert one.ask("/v1/responses", lax).status == 200
            lax["tools"][0]["strict"] = True
            assert one.ask("/v1/responses", lax).status == 400


def test_without_tools_marks_of_calls_are_text(caller: Served) -> None:
    for fields in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        (choice,) = chat(caller, **fields)["choices"]
        assert choice["finish_reason"] == "stop"
        assert "tool_calls" not in choice["message"]
        assert choice["message"]["content"] == REPLY.partition("</think>")[2]
    (choice,) = chat(caller, reasoning_format="none")["choices"]
    assert choice["message"]["content"] == REPLY


def test_a_response_in_items(caller: Served) -> None:
    tools = [{"type": "function", **TOOLS[0]["function"], "strict": False}]
    body = {"input": "What does len do?", "instructions": "Be short.", "tools": tools}
    whole = caller.ask("/v1/responses", body).json
    assert whole["status"] == "completed"
    thought, message, call = whole["output"]
    assert thought["content"][0]["text"] == "Hm."
    assert message["content"][0]["text"] == "I look."
    assert json.loads(call["arguments"]) == {"at": "ä\n"}
    events = caller.ask("/v1/responses", {**body, "stream": True}).events
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:3] == ["created", "in_progress", "output_item.added"]
    assert kinds[-1] == "completed"
    one = list(dict.fromkeys(kinds[kinds.index("output_text.delta") - 2 :]))
    assert one[:6] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    final = events[-1]["response"]["output"]
    for item, came in zip(whole["output"], final, strict=True):
        assert {**item, "id": 0, "call_id": 0} == {**came, "id": 0, "call_id": 0}
    again = [{"role": "user", "content": "x"}, *whole["output"]]
    again.append({"type": "function_call_output", "call_id": call["call_id"], "output": "y"})
    assert caller.ask("/v1/responses", {"input": again, "tools": tools}).status == 200
    for name, value in (("previous_response_id", "resp_1"), ("input", [{"type": "file_search"}])):
        error = caller.ask("/v1/responses", {**body, name: value}).json["error"]
        assert error["param"] == name
