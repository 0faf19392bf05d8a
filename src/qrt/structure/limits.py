"""Bounds on grammars from outside, checked before a library sees them."""

from __future__ import annotations

import re
from typing import Any, Final

from qrt.errors import InputError

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 100
MAX_REPEATS: Final = 2000
"""The largest number in a repetition such as {3,5}."""
MAX_RULES: Final = 1000
"""Of GBNF or Lark, which may name each other in a chain."""

_KEY: Final = re.compile(r'"\s*:')
_REPEATS: Final = re.compile(r"\{[\s\d,]*?(\d{4,})")
_TILDE_REPEATS: Final = re.compile(r"~[\s\d.]*?(\d{4,})")
_LARK_QUOTED: Final = re.compile(
    r'"(?:\\.|[^"\\])*"?|//[^\n]*|#[^\n]*|/(?:\\.|[^/\\\n])*/?', re.DOTALL
)
"""Literals, comments and regexes of Lark, in which a tilde is one."""
_BRACKETS: Final = re.compile(r"\\.|[(\[{]|[)\]}]", re.DOTALL)


def check_text(text: str) -> None:
    """Raises InputError for a grammar that is too large, or no Unicode."""
    try:
        n_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise InputError("the grammar is not valid Unicode") from None
    if n_bytes > MAX_BYTES:
        raise InputError(f"the grammar has {n_bytes} bytes; at most {MAX_BYTES} are allowed")


def check_brackets(text: str) -> None:
    """Raises InputError for brackets in brackets deeper than is allowed."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[0] in "([{":
            depth += 1
        elif found[0] in ")]}":
            depth = max(depth - 1, 0)
        if depth > MAX_DEPTH:
            raise _too_deep()


def check_repeats(text: str) -> None:
    """Raises InputError for a repetition as {3,5} that asks for more than is allowed."""
    _check_numbers(_REPEATS, text)


def check_lark_repeats(text: str) -> None:
    """The same for repetitions as ~3..5."""
    _check_numbers(_TILDE_REPEATS, _LARK_QUOTED.sub('""', text))


def _check_numbers(pattern: re.Pattern[str], text: str) -> None:
    for found in pattern.finditer(text):
        if len(found[1]) > 4 or int(found[1]) > MAX_REPEATS:
            raise InputError(
                f"the grammar repeats a part {found[1][:20]} times; at most {MAX_REPEATS} are "
                "allowed"
            )


def check_rules(text: str) -> None:
    """Raises InputError for more rules than are allowed: each has a colon, as keys of JSON do."""
    n_rules = text.replace("::", ":").count(":") - sum(1 for _ in _KEY.finditer(text))
    if n_rules > MAX_RULES:
        raise InputError(f"the grammar has {n_rules} rules; at most {MAX_RULES} are allowed")


def check_depth(value: Any) -> None:
    """Raises InputError for plain values nested deeper than is allowed."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return
    raise _too_deep()


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> InputError:
    return InputError(f"the grammar is nested deeper than the {MAX_DEPTH} levels that are allowed")
