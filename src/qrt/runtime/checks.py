"""Checks of values that a caller passes in: the type, the limits and one clear message."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from reprlib import repr as shown
from typing import Any, Final

from qrt.errors import InputError

__all__ = ["INT_MAX", "check_float", "check_int", "check_tokens", "shown"]

INT_MAX: Final = 2**31 - 1


def check_int(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int in [low, high]; bools and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be an integer, got {shown(value)}")
    number = int(value)
    if not low <= number <= high:
        raise InputError(f"{name} must be between {low} and {high}, got {number}")
    return number


def check_float(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float in [low, high]; bools, NaN and infinities are refused."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {shown(value)}")
    number = float(value)
    if not math.isfinite(number) or not low <= number <= high:
        raise InputError(f"{name} must be between {low:g} and {high:g}, got {number}")
    return number


def check_tokens(name: str, tokens: Iterable[Any], n_vocab: int) -> list[int]:
    """`tokens` as a list of ints, each a token id of the model."""
    if isinstance(tokens, str | bytes) or not isinstance(tokens, Iterable):
        raise InputError(f"{name} must be token ids, got {shown(tokens)}")
    ids = list(tokens)
    if all(type(token) is int and 0 <= token < n_vocab for token in ids):
        return ids
    return [check_int(f"{name}[{i}]", token, 0, n_vocab - 1) for i, token in enumerate(ids)]
