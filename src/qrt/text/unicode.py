"""Categories and cases of characters as Unicode 15.1 has them, whichever version Python knows."""

from __future__ import annotations

import re
import unicodedata

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""White space in Unicode; Python counts four control characters more."""

NEWER_RANGES = (
    "897 1b4e-1b4f 1b7f 1c89-1c8a 2427-2429 31e4-31e5 a7cb-a7cd a7da-a7dc 105c0-105f3 10d40-10d8f "
    "10ec2-10efc 11380-113e2 116d0-116e3 11bc0-11bf9 11f5a 13460-143fa 16100-16139 16d40-16d79 "
    "18cff 1cc00-1ceb3 1e5d0-1e5ff 1f8b2-1f8c1 1fa89-1fa8f 1fabe 1fac6 1fadc-1fadf 1fae9 "
    "1fbcb-1fbef"
)
"""Code points (hexadecimal) that got a category with Unicode 16."""
_MARKS_OF_15 = (
    "cf3 ece 10efd-10eff 11241 11f00-11f01 11f03 11f34-11f3a 11f3e-11f42 13440 13447-13455 1e08f "
    "1e4ec-1e4ef"
)
_PUNCTUATION_OF_15 = "11b00-11b09 11f43-11f4f"
_CONTROLS_OF_15 = "13439-1343f"


def ranges(numbers: str) -> str:
    """The inside of a regex's class: code points and ranges of them, given in hexadecimal."""
    return re.sub(r"[0-9a-f]+", r"\\x{\g<0>}", numbers).replace(" ", "")


def _codes(numbers: str) -> frozenset[int]:
    """The same as a set."""
    pairs = (part.partition("-") for part in numbers.split())
    return frozenset(
        code for low, _, high in pairs for code in range(int(low, 16), int(high or low, 16) + 1)
    )


_NEWER = _codes(NEWER_RANGES)
_OF_15 = {
    code: group
    for numbers, group in (
        (_MARKS_OF_15, "M"),
        (_PUNCTUATION_OF_15, "P"),
        (_CONTROLS_OF_15, "C"),
    )
    for code in _codes(numbers)
}
"""What Python 3.11 does not know of the marks, punctuation and control characters of 15.1."""


def group(char: str) -> str:
    """The first letter of a character's category; empty for a code point without one."""
    code = ord(char)
    if code in _NEWER:
        return ""
    category = unicodedata.category(char)
    return _OF_15.get(code, "") if category == "Cn" else category[0]


def base(char: str) -> str:
    """The first character of its canonical decomposition."""
    return char if ord(char) in _NEWER else unicodedata.normalize("NFD", char)[0]


def lower(char: str) -> str:
    """Its simple lower case: one character."""
    return char if ord(char) in _NEWER else char.lower()[0]
