"""Checks of values that a caller passes in: the type, the limits and one clear message."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Sequence, Set
from numbers import Integral, Real
from typing import Any, Final

from qrt.errors import InputError

INT_MAX: Final = 2**31 - 1


def shown(value: object) -> str:
    """`value` as a message shows it: short, on one line, whatever its own `repr` does."""
    try:
        return " ".join(reprlib.repr(value).split())
    except Exception:  # Python writes no int of more than 4300 digits
        return f"{type(value).__name__} that cannot be shown"


def check_int(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int in [low, high]; bools and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be an integer, got {shown(value)}")
    number = int(value)
    if not low <= number <= high:
        raise InputError(f"{name} must be between {low} and {high}, got {shown(number)}")
    return number


def check_bool(name: str, value: Any) -> bool:
    """`value`, which must be True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {shown(value)}")
    return value


def check_float(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float in [low, high]; bools, NaN and infinities are refused."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not low <= number <= high:
        raise InputError(f"{name} must be between {low:g} and {high:g}, got {shown(value)}")
    return number


def check_strings(name: str, strings: Any, most: int, longest: int) -> tuple[str, ...]:
    """`strings` as a tuple of at most `most` strings of 1 to `longest` characters."""
    if isinstance(strings, str) or not isinstance(strings, Sequence | Set):
        raise InputError(f"{name} must be a list of strings, got {shown(strings)}")
    if len(strings) > most:
        raise InputError(f"{name} holds {len(strings)} strings, at most {most} may be")
    for string in strings:
        if not isinstance(string, str):
            raise InputError(f"{name} must hold strings, got {shown(string)}")
        check_int(f"the length of {shown(string)} in {name}", len(string), 1, longest)
    return tuple(strings)


def check_tokens(
    name: str, tokens: Iterable[Any], n_vocab: int, expected: str = "token ids"
) -> list[int]:
    """`tokens` as a list of ints, each a token id of the model; errors say what is `expected`."""
    wrong = InputError(f"{name} must be {expected}, got {shown(tokens)}")
    if isinstance(tokens, str | bytes):
        raise wrong
    try:
        each = iter(tokens)
    except TypeError:
        raise wrong from None
    ids = list(each)
    if all(type(token) is int and 0 <= token < n_vocab for token in ids):
        return ids
    return [check_int(f"{name}[{i}]", token, 0, n_vocab - 1) for i, token in enumerate(ids)]
