"""Chat messages to the text that a model was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from qrt.errors import InputError, TemplateError
from qrt.text.messages import (
    Message,
    checked_messages,
    map_texts,
    merge_system,
    plain,
    with_text_arguments,
)
from qrt.text.templates import BY_TOKENS, CHATML
from qrt.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from qrt.text.chat_sandbox import CompiledTemplate

_TEMPLATE_KEY = "tokenizer.chat_template"
_RESERVED = frozenset(("messages", "add_generation_prompt", "bos_token", "eos_token"))
_MARKS = tuple(map(chr, (*range(0x10A50, 0x10A59), *range(0xA9C1, 0xA9CE))))
"""Rare but printable characters, one of which marks places in the messages."""
_THOUGHT_MARKS = ("<think>", "</think>")
"""Marks that templates look for in what the assistant said."""

Spans = list[tuple[str, bool]]


def choose_template(metadata: Mapping[str, object], tokenizer: Tokenizer) -> ChatTemplate:
    """The template in `metadata`, or the one that the vocabulary's special tokens suggest.

    Raises TemplateError if the file's own template cannot be used.
    """
    source = metadata.get(_TEMPLATE_KEY)
    if source is None or source == "":
        for tokens, fallback in BY_TOKENS.items():
            if all(tokenizer.find(token) is not None for token in tokens):
                return ChatTemplate(fallback, tokenizer)
        return ChatTemplate(CHATML, tokenizer)
    if not isinstance(source, str):
        raise TemplateError(f"{_TEMPLATE_KEY} is {type(source).__name__}; expected text")
    return ChatTemplate(source, tokenizer)


class ChatTemplate:
    """A chat template of one vocabulary. Thread-safe.

    The template runs in a sandbox with limits (qrt.text.chat_sandbox), and nothing that a message
    says can become a control token.
    """

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        """Raises TemplateError if `source` is too long or not valid Jinja."""
        from qrt.text.chat_budget import Limits
        from qrt.text.chat_sandbox import CompiledTemplate

        self.source = source
        self._tokenizer = tokenizer
        self._compiled: CompiledTemplate = CompiledTemplate(source, Limits())
        self._bos = _piece(tokenizer, tokenizer.bos_id)
        self._eos = _piece(tokenizer, tokenizer.eos_id)

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool = True,
        **kwargs: object,
    ) -> Spans:
        """The prompt as spans for `Tokenizer.tokenize_spans`.

        A span flagged False holds text of a message that could pass for a control token. A BOS
        token at the start is left out where the tokenizer adds one. `kwargs` (tools, documents,
        enable_thinking ...) are variables of the template, in JSON types.

        A template that knows no system role gets its text before the first user message's. Raises
        InputError for malformed messages and TemplateError when the template fails.
        """
        reserved = _RESERVED.intersection(kwargs)
        if reserved:
            raise InputError(f"{min(reserved)!r} cannot be passed to a chat template")
        checked = checked_messages(messages)
        extra = {name: plain(value, name) for name, value in kwargs.items()}
        mark = _unused_mark((checked, extra, self.source))
        text = self._render_some_way(checked, extra, add_generation_prompt, mark)
        if self._bos and self._tokenizer.add_bos:
            text = text.removeprefix(self._bos)
        return _spans(text, mark)

    def tokens(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool = True,
        **kwargs: object,
    ) -> list[int]:
        """Token ids of the prompt, with one BOS where the model wants it and no EOS at the end."""
        spans = self.render(messages, add_generation_prompt=add_generation_prompt, **kwargs)
        ids = self._tokenizer.tokenize_spans(spans, add_special=False)
        bos_id = self._tokenizer.bos_id
        if self._tokenizer.add_bos and bos_id is not None:
            ids.insert(0, bos_id)
        return ids

    def _render_some_way(
        self,
        messages: list[Message],
        extra: Mapping[str, object],
        add_generation_prompt: bool,
        mark: str,
    ) -> str:
        """The render of the first form of the messages that the template takes."""
        refusal: TemplateError | None = None
        for form in _forms(messages):
            marked = [self._marked(message, mark) for message in form]
            hide = partial(self._hide, mark=mark, keep=())
            variables = {
                **{name: map_texts(value, hide) for name, value in extra.items()},
                "messages": marked,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": self._bos,
                "eos_token": self._eos,
            }
            try:
                text = self._compiled.render(variables)
            except TemplateError as error:
                refusal = refusal or error
                continue
            if _has_system_text(form, text.replace(mark, "")):
                return text
        if refusal is None:
            raise TemplateError("the chat template leaves out the system message")
        raise refusal

    def _marked(self, message: Message, mark: str) -> Message:
        keep = _THOUGHT_MARKS if message["role"] == "assistant" else ()
        hide = partial(self._hide, mark=mark, keep=keep)
        return {
            key: value if key == "role" else map_texts(value, hide)
            for key, value in message.items()
        }

    def _hide(self, text: str, *, mark: str, keep: Sequence[str]) -> str:
        """`text` with `mark` before each character that must not be part of a control token."""
        places = self._tokenizer.special_matcher.risky(text)
        places = {p for p in places if not text.startswith(tuple(keep), p)} if keep else places
        if not places:
            return text
        edges = sorted({0, *places, len(text)})
        return "".join(
            (mark if start in places else "") + text[start:end] for start, end in pairwise(edges)
        )


def _forms(messages: list[Message]) -> Iterator[list[Message]]:
    """Ways to put the same conversation, the plainest first."""
    as_system = [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]
    yield messages
    if as_system != messages:
        yield as_system
    if any(m.get("tool_calls") for m in messages):
        yield with_text_arguments(as_system)
    if any(m["role"] == "system" for m in as_system):
        yield merge_system(as_system)


def _has_system_text(messages: Sequence[Message], text: str) -> bool:
    """Whether a leading system message is in `text`, which some templates pass over in silence."""
    first = messages[0]
    return first["role"] != "system" or str(first["content"]).strip() in text


def _piece(tokenizer: Tokenizer, token: int | None) -> str:
    return "" if token is None else tokenizer.piece(token)


def _unused_mark(values: object) -> str:
    """A character of `_MARKS` that occurs nowhere in `values`, nor as JSON escapes it."""
    text = str(values)
    for mark in _MARKS:
        escaped = _escaped(mark)
        if not any(form in text for form in (mark, escaped, escaped.replace("\\", "\\\\"))):
            return mark
    raise InputError("the messages hold too many kinds of Kharoshthi and Javanese punctuation")


def _escaped(mark: str) -> str:
    return json.dumps(mark)[1:-1]


def _spans(text: str, mark: str) -> Spans:
    """Cuts `text` at the marks: the character after each may not be part of a control token."""
    head, *rest = text.replace(_escaped(mark), mark).split(mark)
    spans: Spans = [(head, True)]
    for part in rest:
        spans += [(part[:1], False), (part[1:], True)]
    return [span for span in spans if span[0]]
