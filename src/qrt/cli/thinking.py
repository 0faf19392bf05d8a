"""What a model thinks before it answers: told from the answer by the marks that models use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.api import Model

_OPENING = (
    *(
        "<think>",
        "<thought>",
        "<thinking>",
        "<seed:think>",
        "<|inner_prefix|>",
        "<|START_THINKING|>",
    ),
    *("[THINK]", "◁think▷", "<|channel>thought\n"),
    *("<|channel|>analysis<|message|>", "<|channel|>commentary<|message|>"),
)
_CLOSING = (
    *("</think>", "</thought>", "</thinking>", "</seed:think>", "<|inner_suffix|>"),
    *("<|END_THINKING|>", "[/THINK]", "◁/think▷", "<channel|>", "<|channel|>final<|message|>"),
)
_BETWEEN = ("<|end|>", "<|start|>assistant", "<|START_RESPONSE|>")
"""Marks that separate parts of a reply and change nothing."""

_MARKS = (*_OPENING, *_CLOSING, *_BETWEEN)
_ANY = re.compile("|".join(map(re.escape, _MARKS)))
_TAIL = 16
"""Tokens at the end of a prompt in which a template may have opened the thoughts."""

_SWITCHES: Mapping[str, tuple[Any, Any]] = {
    "enable_thinking": (True, False),
    "thinking": (True, False),
    "reasoning_effort": ("high", "low"),
}
"""Variables of chat templates: their values with and without thinking."""


class Part(NamedTuple):
    """A piece of what a model said."""

    text: str
    is_thought: bool


class Thoughts:
    """Tells thoughts from the answer, of one reply. Marks count until the answer begins."""

    def __init__(self, by_token: Mapping[int, str], *, are_open: bool) -> None:
        """by_token: marks that are control tokens, which have no text; are_open: by the prompt."""
        self._by_token = by_token
        self._is_thought = are_open
        self._is_answer = False
        self._had_marks = are_open
        self._held = ""

    def push(self, text: str, token: int | None) -> list[Part]:
        """The parts that are complete with this text of a token."""
        if self._is_answer:
            return [Part(text, False)]
        mark = "" if token is None else self._by_token.get(token, "")
        self._held += text if mark in text else text + mark
        return self._taken(is_end=False)

    def flush(self) -> list[Part]:
        """What was held back because it might have been a mark."""
        return self._taken(is_end=True)

    def _taken(self, *, is_end: bool) -> list[Part]:
        parts: list[Part] = []
        while self._held and not self._is_answer:
            found = _ANY.search(self._held)
            before = self._held[: found.start()] if found else self._held
            if not self._is_thought and before.strip():
                if not is_end and not found and _may_be_mark(before.lstrip()):
                    break
                self._is_answer = True
                break
            if found is None:
                if self._is_thought:
                    n_held = 0 if is_end else _n_held(before)
                    parts.append(Part(before[: len(before) - n_held], True))
                    self._held = before[len(before) - n_held :]
                elif is_end:
                    self._is_answer = True
                break
            if self._is_thought:
                parts.append(Part(before, True))
            self._held = self._held[found.end() :]
            self._had_marks = True
            if found.group() not in _BETWEEN:
                self._is_thought = found.group() in _OPENING
        if self._is_answer and self._held:
            answer = self._held.lstrip() if self._had_marks else self._held
            parts.append(Part(answer, False))
            self._held = ""
        return [part for part in parts if part.text]


def thoughts_of(model: Model, prompt: Sequence[int]) -> Thoughts:
    """What tells the thoughts in a reply to `prompt`."""
    by_token = {}
    for mark in _MARKS:
        tokens = model.tokenize(mark, add_special=False, parse_special=True)
        if len(tokens) == 1:
            by_token[tokens[0]] = mark
    tail = model.detokenize(prompt[-_TAIL:], special=True).rstrip()
    return Thoughts(by_token, are_open=tail.endswith(tuple(mark.rstrip() for mark in _OPENING)))


def template_vars(model: Model, think: bool | None, template: str | None = None) -> dict[str, Any]:
    """The variables that make `template`, or the model's own, ask for thoughts, or for none.

    Raises InputError if it has no such variable.
    """
    if think is None:
        return {}
    template = template or str(model.metadata.get("tokenizer.chat_template", ""))
    given = {
        name: values[not think]
        for name, values in _SWITCHES.items()
        if re.search(rf"(?<![\w.'\"]){name}(?![\w'\"])", template)
    }
    if not given:
        raise InputError(
            f"the chat template of {model.info.name} has no switch for thinking; leave "
            f"--{'think' if think else 'no-think'} out (--hide-think hides what it thinks)"
        )
    return given


def _may_be_mark(start: str) -> bool:
    return any(mark.startswith(start) for mark in _MARKS)


def _n_held(text: str) -> int:
    """How many characters at the end may be the start of a mark."""
    longest = max(map(len, _MARKS)) - 1
    starts = range(max(0, len(text) - longest), len(text))
    return next((len(text) - i for i in starts if _may_be_mark(text[i:])), 0)
