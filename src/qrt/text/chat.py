"""Chat messages to the text that a model was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from types import MappingProxyType
from typing import Final

from qrt.errors import InputError, TemplateError
from qrt.text.chat_limits import Limits
from qrt.text.chat_process import TemplateProcess
from qrt.text.messages import Message, checked_messages, plain, with_tool_responses
from qrt.text.templates import BY_TOKENS, CHATML, LAST_MESSAGE, named
from qrt.text.tokenizer import Tokenizer

_TEMPLATE_KEY = "tokenizer.chat_template"
_NO_VARS: Final[Mapping[str, object]] = MappingProxyType({})
_RESERVED = frozenset(
    (
        *("messages", "add_generation_prompt", "bos_token", "eos_token"),
        *("dict", "namespace", "raise_exception", "range", "strftime_now"),
    )
)
"""Variables that each render is given, and functions of templates."""

Spans = list[tuple[str, bool]]


def choose_template(
    metadata: Mapping[str, object], tokenizer: Tokenizer, given: str | None = None
) -> ChatTemplate:
    """The template `given`, that in `metadata`, or what the model and the vocabulary's special
    tokens suggest.

    Raises TemplateError if the file's own template is not text.
    """
    source = metadata.get(_TEMPLATE_KEY) if given is None else given
    if source is None or source == "":
        if f"{metadata.get('general.architecture')}.decoder_start_token_id" in metadata:
            return ChatTemplate(LAST_MESSAGE, tokenizer)
        for tokens, fallback in BY_TOKENS.items():
            if all(tokenizer.find(token) is not None for token in tokens):
                return ChatTemplate(fallback, tokenizer)
        return ChatTemplate(CHATML, tokenizer)
    if not isinstance(source, str):
        raise TemplateError(f"{_TEMPLATE_KEY} is {type(source).__name__}; expected text")
    return ChatTemplate(named(source) or source, tokenizer)


class ChatTemplate:
    """A chat template of one vocabulary. Thread-safe.

    The template runs in a process of its own with hard limits, which starts here, and nothing
    that a message says can become a control token: the template sees the messages as they are, and
    only what it wrote itself is looked at for such tokens.
    """

    def __init__(self, source: str, tokenizer: Tokenizer, limits: Limits | None = None) -> None:
        self.source = source
        self._tokenizer = tokenizer
        self._process = TemplateProcess(source, limits or Limits())
        self._constants = {
            "bos_token": _piece(tokenizer, tokenizer.bos_id),
            "eos_token": _piece(tokenizer, tokenizer.eos_id),
        }

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        template_vars: Mapping[str, object] = _NO_VARS,
        *,
        add_generation_prompt: bool = True,
        continued: bool = False,
    ) -> Spans:
        """The prompt as spans for `Tokenizer.tokenize_spans`.

        A span flagged False holds text that the template did not write itself. A BOS token at the
        start is left out where the tokenizer adds one. `template_vars` (tools, documents,
        enable_thinking ...) are variables of the template, in JSON types. `continued`: the last
        message is the assistant's and what its answer begins with, so that the prompt ends in it.

        A template that knows no system role gets its text before the first user message's. Raises
        InputError for malformed messages or variables, and TemplateError when the template is no
        valid Jinja or fails.
        """
        reserved = _RESERVED.intersection(template_vars)
        if reserved:
            raise InputError(
                f"template_vars has {min(reserved)!r}, which qrt sets itself; leave it out"
            )
        variables = {
            name: plain(value, f"template_vars[{shown(name)}]")
            for name, value in template_vars.items()
        }
        checked = checked_messages(messages)
        begun = _begun(checked) if continued else ""
        if _takes_responses(self.source):
            checked = with_tool_responses(checked)
        answer = self._process.ask(
            {
                "messages": checked,
                "variables": {**variables, "add_generation_prompt": add_generation_prompt},
                "constants": self._constants,
            }
        )
        spans = self._without_bos(_spans(answer["text"], answer["runs"]))
        return [*spans, (begun, False)] if begun else spans

    def tokens(
        self,
        messages: Sequence[Mapping[str, object]],
        template_vars: Mapping[str, object] = _NO_VARS,
        *,
        add_generation_prompt: bool = True,
        continued: bool = False,
    ) -> list[int]:
        """Token ids of what `render` gives, with one BOS where the model wants it and no EOS."""
        spans = self.render(
            messages,
            template_vars,
            add_generation_prompt=add_generation_prompt,
            continued=continued,
        )
        ids = self._tokenizer.tokenize_spans(spans, add_special=False)
        bos_id = self._tokenizer.bos_id
        if self._tokenizer.add_bos and bos_id is not None:
            ids.insert(0, bos_id)
        return ids

    def _without_bos(self, spans: Spans) -> Spans:
        bos = self._constants["bos_token"]
        if self._tokenizer.add_bos and spans and spans[0][1]:
            return [(spans[0][0].removeprefix(bos), True), *spans[1:]]
        return spans


def _takes_responses(source: str) -> bool:
    """Whether a template has results of calls in the message that called, and nowhere else."""
    return "tool_responses" in source and not re.search(r"==\s*['\"]tool['\"]", source)


def _begun(messages: list[Message]) -> str:
    """Takes the last message off: what the assistant has said of its answer."""
    last = messages[-1]
    others = [message["role"] for message in messages[-2:-1]]
    if last["role"] != "assistant" or "tool_calls" in last or others in ([], ["assistant"]):
        raise InputError("only a text of the assistant's, behind another's, can be continued")
    del messages[-1]
    return str(last["content"])


def _piece(tokenizer: Tokenizer, token: int | None) -> str:
    return "" if token is None else tokenizer.piece(token)


def _spans(text: str, runs: Sequence[int]) -> Spans:
    """`text` in runs of the template's own words and others' in turn."""
    spans: Spans = []
    at = 0
    for i, length in enumerate(runs):
        if length:
            spans.append((text[at : at + length], i % 2 == 0))
        at += length
    return spans
