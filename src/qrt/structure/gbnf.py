"""GBNF, the notation of llama.cpp's grammars, as Lark."""

from __future__ import annotations

import re
from typing import Final

from qrt.errors import InputError

_PARTS: Final = re.compile(
    r'"(?:\\.|[^"\\])*"?|\[(?:\\.|[^\]\\])*\]?|#[^\n]*|\)(?=[ \t]*[*+?{])', re.DOTALL
)
"""Literals, classes of characters, comments, and the end of a group that is repeated."""
_ESCAPES: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)")
_PLAIN: Final = re.compile(r"[^\W_]| ")
_LAST_ASCII: Final = 0x7F


def lark_of(text: str) -> str:
    """The same grammar in Lark, whose `start` is its `root`. Raises InputError."""
    from llguidance.gbnf_to_lark import gbnf_to_lark

    try:
        return gbnf_to_lark(_PARTS.sub(_prepared, text))
    except Exception as error:  # it raises this itself, and what a text surprises it with
        raise InputError(f"the grammar is wrong: {error}") from None


def _prepared(found: re.Match[str]) -> str:
    """What the converter would not bring over: a repetition in a repeated group, escapes."""
    part = found[0]
    if part == ")":
        return ' "")'
    return part if part[0] == "#" else _ESCAPES.sub(_character, part)


def _character(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3]
    if digits is None:
        return found[0]
    code = int(digits, 16)
    try:
        char = chr(code)
        char.encode()
    except (ValueError, OverflowError):
        raise InputError(f"the grammar is wrong: {found[0]} is no character") from None
    return char if code > _LAST_ASCII or _PLAIN.fullmatch(char) else f"\\x{code:02x}"
