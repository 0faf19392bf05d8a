"""POST /v1/responses: OpenAI's newer form of a conversation, whole or as events."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from qrt.server.answers import Answer, Chat, asked_chat
from qrt.server.errors import RefusedError
from qrt.server.fields import Count, SamplingFields, formatted, keywords_of, limited
from qrt.server.models import Served
from qrt.server.responses import Script
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream, json_response
from qrt.server.wholes import whole


class Reasoning(msgspec.Struct, kw_only=True):
    """`reasoning`."""

    effort: str | None = None


class Format(msgspec.Struct, kw_only=True):
    """`text`."""

    format: dict[str, Any] | None = None


class ResponsesBody(SamplingFields, kw_only=True):
    """A request for an answer to a conversation, in items."""

    input: str | list[dict[str, Any]]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Count | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: Format | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    timings_per_token: bool | None = None
    metadata: dict[str, Any] | None = None


async def respond(request: Request[ResponsesBody]) -> Response:
    """Answers a conversation."""
    body = request.body
    for name in ("previous_response_id", "conversation"):
        if getattr(body, name) is not None:
            raise RefusedError(
                400,
                f"{name}: this server keeps no conversations; send all of it as input",
                param=name,
            )
    served = await request.acquire(body.model)
    asked = await asked_chat(request, served, _chat(body, served))
    answer = Answer(asked, tells_prompt=bool(body.stream and body.return_progress))
    script = Script(answer, _echoed(body), tells_timings=bool(body.timings_per_token))
    if body.stream:
        return EventStream(request, script.events())
    return json_response(script.finished(await whole(answer)))


def _chat(body: ResponsesBody, served: Served) -> Chat:
    keywords: Any = keywords_of(body, served.model.info.n_vocab)
    wanted = body.text.format if body.text is not None else None
    effort = body.reasoning.effort if body.reasoning is not None else None
    return Chat(
        messages=_messages(body),
        keywords=limited(formatted(keywords, wanted), body.max_output_tokens),
        tools=[_tool(tool, i) for i, tool in enumerate(body.tools or ())],
        may_be_lax=not any(tool.get("strict") for tool in body.tools or ()),
        tool_choice=_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        template_vars={} if effort is None else {"reasoning_effort": effort},
    )


def _tool(tool: dict[str, Any], i: int) -> dict[str, Any]:
    """A tool as chat completions have it, strict unless it says otherwise. Raises RefusedError for
    one that is no function."""
    if tool.get("type") != "function":
        raise RefusedError(
            400, f"tools[{i}].type: only tools of type function are understood", param="tools"
        )
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": "function", "function": {**function, "strict": tool.get("strict") is not False}}


def _choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any]:
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice or "auto"


def _messages(body: ResponsesBody) -> list[dict[str, Any]]:
    """The items of the input as chat messages; calls in a row are one message's."""
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        return [*messages, {"role": "user", "content": body.input}]
    thoughts = ""
    for i, item in enumerate(body.input):
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "function_call":
            _add_call(messages, item)
        elif kind == "function_call_output":
            output = item.get("output")
            messages.append(
                {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
            )
        elif kind == "reasoning":
            thoughts = _texts(item.get("content"))
            continue
        else:
            raise RefusedError(
                400, f"input[{i}].type: {str(kind)[:40]!r} is not understood", param="input"
            )
        if thoughts and messages[-1]["role"] == "assistant":
            messages[-1]["reasoning_content"] = thoughts
            thoughts = ""
    return messages


def _add_call(messages: list[dict[str, Any]], item: dict[str, Any]) -> None:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    call = {"id": item.get("call_id"), "type": "function", "function": function}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _texts(parts: object) -> str:
    found = parts if isinstance(parts, list) else []
    return "".join(
        part["text"]
        for part in found
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def _echoed(body: ResponsesBody) -> dict[str, Any]:
    """What a response says of its request."""
    return {
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "temperature": body.temperature,
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_p": body.top_p,
    }


ROUTES = Route(
    ("POST",), "/v1/responses", respond, ResponsesBody, summary="Answer a conversation, in items"
).at("/responses")
