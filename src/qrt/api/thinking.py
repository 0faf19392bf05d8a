"""Where the answer begins that a form is asked of: behind the thoughts of a reply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from qrt.replies.forms import family_of
from qrt.replies.thoughts import CLOSING, PAIRS, opened
from qrt.structure.deferred import Deferral
from qrt.text import Tokenizer

_TAIL: Final = 32
"""Tokens at the end of a prompt in which thoughts may have been opened or closed."""
_CLOSED: Final = re.compile("|".join(re.escape(mark) for mark in sorted(CLOSING)).encode())
_FINAL: Final = re.compile(rb"<\|channel\|>final(?:(?!<\|channel\|>).)*<\|message\|>", re.DOTALL)
"""The header of gpt-oss's answer."""


def deferral_of(tokenizer: Tokenizer, template: str, prompt: Sequence[int]) -> Deferral | None:
    """How the reply to a prompt may think before its answer; None: it does not.

    template: the source of the chat template.
    """
    tail = prompt[-_TAIL:]
    said = b"".join(tokenizer.token_bytes(token) for token in tail)
    if family_of(tokenizer, template) == "harmony":
        return None if _FINAL.search(said) else Deferral(True, frozenset(), _FINAL)
    tokens = {mark: token for mark in PAIRS if (token := tokenizer.find_special(mark)) is not None}
    if opened(tokenizer, tokens, prompt) is not None:
        return Deferral(True, frozenset(), _CLOSED)
    known = frozenset(token for mark, token in tokens.items() if mark in template)
    is_chat = any(tokenizer.is_control(token) for token in tail[1:])
    if not known or not is_chat or _CLOSED.search(said):
        return None
    return Deferral(False, known, _CLOSED)
