"""One answer of a server that runs, for `qrt run --server` and `qrt complete --server`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat_flags import ChatFlags
from qrt.cli.flags import AnswerFlags, AnswerLoadFlags, RemoteFlags
from qrt.cli.output import AnswerWriter, Shown, note
from qrt.cli.remote import Remote, running
from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.replies import Event


def completed(
    flags: RemoteFlags,
    model: str | None,
    load: AnswerLoadFlags,
    text: str,
    keywords: Mapping[str, Any],
    *,
    timings: bool,
) -> None:
    """Continues a text. Raises what `Remote` does, and InputError."""
    _check_plain(load, AnswerLoadFlags())
    with running(flags.server_url) as remote:
        body = {**_named(remote, model), **options(keywords), "prompt": text}
        note(sys.stderr, who(remote, body))
        _print(remote, "/v1/completions", body, Shown(plain=True, timings=timings), closes=False)


def answered(
    flags: RemoteFlags,
    model: str | None,
    load: ChatFlags,
    answer: AnswerFlags,
    system: str | None,
    question: str,
    keywords: Mapping[str, Any],
) -> None:
    """Answers a question. Raises what `Remote` does, and InputError."""
    conversation = Conversation(system)
    conversation.ask(question)
    with running(flags.server_url) as remote:
        body = {**chat_body(remote, model, load, answer), **options(keywords)}
        body["messages"] = conversation.messages
        note(sys.stderr, who(remote, body))
        _print(remote, CHAT, body, answer.shown, closes=True)


CHAT: Final = "/v1/chat/completions"
_SWITCHES = ("enable_thinking", "thinking")


def chat_body(
    remote: Remote, model: str | None, load: ChatFlags, answer: AnswerFlags
) -> dict[str, Any]:
    """What all requests of a chat have in common."""
    _check_plain(load, ChatFlags(template_kwargs=load.template_kwargs))
    body = _named(remote, model)
    switches = {} if answer.think is None else dict.fromkeys(_SWITCHES, answer.think)
    if template_vars := switches | load.template_vars:
        body["chat_template_kwargs"] = template_vars
    return body


def who(remote: Remote, body: Mapping[str, Any]) -> str:
    """Who answers a request."""
    return f"{body.get('model', 'its default model')} at {remote.url}"


def _check_plain(load: AnswerLoadFlags, plain: AnswerLoadFlags) -> None:
    if load != plain:
        raise InputError(
            "a server has its models loaded in its own way; leave out flags that say how to load"
        )


def _named(remote: Remote, model: str | None) -> dict[str, Any]:
    """The model for a request, which tells the server's own name of it.

    Raises InputError where a server of one model has another.
    """
    listed = remote.get("/models")["data"]
    names = {name.lower(): m["id"] for m in listed for name in (m["id"], *m.get("aliases", ()))}
    if model is None:
        name = listed[0]["id"] if listed else None  # the first is the default
    elif len(listed) == 1 and model.lower() not in names:
        raise InputError(f"{model}: the server at {remote.url} has only {listed[0]['id']}")
    else:
        name = names.get(model.lower(), model)
    return {} if name is None else {"model": name}


def options(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a generation as the server's routes take them."""
    options = {"max_tokens": -1, "stream": True, **keywords}
    if "logit_bias" in options:
        pairs = options["logit_bias"].items()
        options["logit_bias"] = {str(k): False if v == -math.inf else v for k, v in pairs}
    return options


def _print(
    remote: Remote, path: str, body: Mapping[str, Any], shown: Shown, *, closes: bool
) -> None:
    """Writes an answer as it comes."""
    stream(remote, path, body, AnswerWriter(sys.stdout, None, shown, closing_line=closes), shown)


def stream(
    remote: Remote, path: str, body: Mapping[str, Any], writer: AnswerWriter, shown: Shown
) -> None:
    """Writes an answer as it comes, and its timings."""
    timings: Mapping[str, Any] = {}
    try:
        for event in remote.events(path, body):
            timings = event.get("timings") or timings
            for text, told in _pieces(event):
                writer.take(text, [told])
    finally:
        writer.end()
    if shown.timings and timings:
        note(
            sys.stderr,
            f"prompt {timings['prompt_n']} tokens, {timings['prompt_per_second']:.1f} tok/s | "
            f"answer {timings['predicted_n']} tokens, {timings['predicted_per_second']:.1f} tok/s",
        )


def _pieces(event: Mapping[str, Any]) -> Iterator[tuple[str, Event]]:
    """(text as it is, what it is) of the pieces in one event."""
    from qrt.replies import Text, Thought

    for choice in event.get("choices", ()):
        delta = choice.get("delta") or {}
        if thought := delta.get("reasoning_content"):
            yield thought, Thought(thought)
        if text := choice.get("text") or delta.get("content"):
            yield text, Text(text)
