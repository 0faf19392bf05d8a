"""Where the answer begins that a form is asked of: behind the thoughts of a reply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qrt.replies.forms import family_of
from qrt.replies.harmony import FINAL
from qrt.replies.thoughts import CLOSING, PAIRS, opened
from qrt.structure.deferred import Deferral
from qrt.structure.pacing import Pace
from qrt.text import Tokenizer

_TAIL: Final = 32
"""Tokens at the end of a prompt in which thoughts may have been opened or closed."""
_CLOSED: Final = re.compile("|".join(re.escape(mark) for mark in sorted(CLOSING)).encode())
_ALWAYS: Final = re.compile(b"")
_FINAL: Final = re.compile(rb"<\|channel\|>final(?:(?!<\|channel\|>).)*<\|message\|>", re.DOTALL)
"""The header of gpt-oss's answer."""
_HEADED: Final = re.compile(rb"<\|message\|>")
_MESSAGE_END: Final = "<|end|><|start|>assistant"
_ANSWERED: Final = re.compile(rb"<\|channel\|>(?:final|commentary)")
_ANSWERED_BY_CALL: Final = re.compile(rb"<\|end\|>|" + _ANSWERED.pattern)


def pace_of(
    tokenizer: Tokenizer, template: str, prompt: Sequence[int], n_tokens: int, *, must_call: bool
) -> Pace | None:
    """What ends the thoughts of the reply to a prompt when they have so many tokens; None: it does
    not think. must_call: whether a grammar asks for calls, and lets no answer follow."""
    deferral = deferral_of(tokenizer, template, prompt)
    if deferral is None:
        return None
    if family_of(tokenizer, template) == "harmony":
        closing = _ANSWERED_BY_CALL if must_call else _ANSWERED
        end = _MESSAGE_END if must_call else _MESSAGE_END + FINAL
        deferral = replace(deferral, closing=closing)
        ends: dict[int | None, list[int]] = {None: _tokens(tokenizer, end)}
        return Pace(n_tokens, deferral, _HEADED, ends, tokenizer.token_bytes)
    tokens = _marks(tokenizer)
    ends = {token: _tokens(tokenizer, PAIRS[mark]) for mark, token in tokens.items()}
    if (mark := opened(tokenizer, tokens, prompt)) is not None:
        ends[None] = _tokens(tokenizer, PAIRS[mark])
    return Pace(n_tokens, deferral, _ALWAYS, ends, tokenizer.token_bytes)


def _marks(tokenizer: Tokenizer) -> dict[str, int]:
    """The tokens of the marks that begin thoughts."""
    return {mark: token for mark in PAIRS if (token := tokenizer.find_special(mark)) is not None}


def _tokens(tokenizer: Tokenizer, marks: str) -> list[int]:
    return tokenizer.tokenize(marks, add_special=False, parse_special=True)


def deferral_of(tokenizer: Tokenizer, template: str, prompt: Sequence[int]) -> Deferral | None:
    """How the reply to a prompt may think before its answer; None: it does not.

    template: the source of the chat template.
    """
    tail = prompt[-_TAIL:]
    said = b"".join(tokenizer.token_bytes(token) for token in tail)
    if family_of(tokenizer, template) == "harmony":
        return None if _FINAL.search(said) else Deferral(True, frozenset(), _FINAL)
    tokens = _marks(tokenizer)
    if opened(tokenizer, tokens, prompt) is not None:
        return Deferral(True, frozenset(), _CLOSED)
    known = frozenset(token for mark, token in tokens.items() if mark in template)
    is_chat = any(tokenizer.is_control(token) for token in tail[1:])
    if not known or not is_chat or _CLOSED.search(said):
        return None
    return Deferral(False, known, _CLOSED)
