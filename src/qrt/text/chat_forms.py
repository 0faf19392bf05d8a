"""The form of a conversation that a chat template takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from qrt.errors import TemplateError
from qrt.text.messages import (
    Message,
    has_all_ids,
    merge_system,
    with_ids,
    with_text_arguments,
)

Render = Callable[[list[Message]], str]


def render_some_way(render: Render, messages: list[Message]) -> str:
    """What `render` makes of the first form of `messages` that the template takes.

    A template that knows no system role gets its text before the first user message's. Raises
    TemplateError if it takes no form at all.
    """
    refusal: TemplateError | None = None
    for form in _forms(messages):
        try:
            text = _render_nulls(render, form)
        except TemplateError as error:
            refusal = refusal or error
            continue
        if _has_system_text(form, text):
            return text
    raise refusal or TemplateError("the chat template leaves out the system message")


def _forms(messages: list[Message]) -> Iterator[list[Message]]:
    """Ways to put the same conversation, the plainest first."""
    as_system = [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]
    yield messages
    if as_system != messages:
        yield as_system
    if any(m.get("tool_calls") for m in messages):
        yield with_text_arguments(as_system)
    if not has_all_ids(messages):
        yield with_ids(as_system)
        yield with_text_arguments(with_ids(as_system))
    if any(m["role"] == "system" for m in as_system):
        yield merge_system(as_system)


def _render_nulls(render: Render, messages: list[Message]) -> str:
    """Content that is null stays null, unless the template cannot take it or writes "None"."""
    if all(m["content"] is not None for m in messages):
        return render(messages)
    filled = [{**m, "content": ""} if m["content"] is None else m for m in messages]
    try:
        text = render(messages)
    except TemplateError:
        return render(filled)
    if "None" not in text:
        return text
    try:
        without = render(filled)
    except TemplateError:
        return text
    return without if without.replace("None", "") == text.replace("None", "") else text


def _has_system_text(messages: Sequence[Message], text: str) -> bool:
    """Whether a leading system message is in `text`, which some templates pass over in silence."""
    first = messages[0]
    return first["role"] != "system" or str(first["content"]).strip() in text
