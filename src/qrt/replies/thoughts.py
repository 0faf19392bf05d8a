"""What a model thinks before it answers: told from the answer by the marks that models use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from qrt.replies.events import Event, Thought
from qrt.replies.marks import Item, Mark, shown
from qrt.text import Tokenizer

PAIRS: Mapping[str, str] = {
    "<think>": "</think>",
    "<thought>": "</thought>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|channel>": "<channel|>",
}
"""Marks between which thoughts stand."""
CLOSING = frozenset(PAIRS.values())
SKIPPED: Mapping[str, str] = {"<|channel>": "thought\n"}
"""What may come behind an opening mark and is no thought."""
_BETWEEN = frozenset(("<|START_RESPONSE|>",))
"""Marks that separate parts of a reply and change nothing."""

MARKS = (*PAIRS, *sorted(CLOSING | _BETWEEN))
_TAIL = 32
"""Tokens at the end of a prompt in which a template may have opened the thoughts."""


class Thoughts:
    """Tells thoughts from the answer, of one reply. Marks count until the answer begins."""

    def __init__(self, ending: Collection[str] = (), *, are_open: bool = False) -> None:
        """ending: marks of calls, with which an answer begins even within thoughts that nothing
        closed; are_open: by the prompt."""
        self._ending = ending
        self._is_thought = are_open
        self._had_marks = are_open
        self._skips = self._head = ""
        self._space = ""
        self.is_over = False
        """Whether the answer has begun."""

    def push(self, item: Item) -> tuple[list[Event], list[Item]]:
        """(thoughts, what belongs to the answer), as far as they are told."""
        if self.is_over:
            return [], [item]
        if isinstance(item, Mark) and (item.name in self._ending or item.name in MARKS):
            thoughts = self._left()
            answer: list[Item] = [item] if item.name in self._ending else []
            self._turn(item.name)
            return thoughts, answer
        if self._is_thought:
            return [Thought(self._unskipped(shown(item)))], []
        if isinstance(item, Mark):
            return [], self._answer([item] if self._had_marks else [self._space, item])
        if not item.strip():
            self._space += item
            return [], []
        text = self._space + item
        return [], self._answer([text.lstrip() if self._had_marks else text])

    def flush(self) -> tuple[list[Event], list[Item]]:
        """What was held back."""
        if self.is_over or self._is_thought or self._had_marks:
            return self._left(), []
        return [], self._answer([self._space])

    def _turn(self, mark: str) -> None:
        self.is_over = mark in self._ending
        if mark not in _BETWEEN:
            self._is_thought = mark in PAIRS
            self._skips = SKIPPED.get(mark, "")
        self._had_marks = True
        self._space = ""

    def _answer(self, items: list[Item]) -> list[Item]:
        self.is_over = True
        return items

    def _unskipped(self, text: str) -> str:
        """`text` without what may follow an opening mark and is no thought."""
        if not self._skips:
            return text
        self._head += text
        if self._skips.startswith(self._head):
            return ""
        text, self._head = self._head.removeprefix(self._skips), ""
        self._skips = ""
        return text

    def _left(self) -> list[Event]:
        """What was held back of thoughts."""
        text, self._head = self._head, ""
        return [Thought(text)] if text != self._skips else []


def opened(tokenizer: Tokenizer, tokens: Mapping[str, int], prompt: Sequence[int]) -> str | None:
    """The mark with which a prompt ends, within thoughts; `tokens` are marks that are special
    tokens."""
    tail = prompt[-_TAIL:]
    text = tokenizer.detokenize(tail, special=True).rstrip()
    for mark in PAIRS:
        ends = (mark, (mark + SKIPPED.get(mark, "")).rstrip())
        if text.endswith(ends) and (mark not in tokens or tokens[mark] in tail):
            return mark
    return None
