"""How long a model stays loaded that nobody asks for, as clients and files write it."""

from __future__ import annotations

import math
import re
from typing import Any

from qrt.errors import InputError
from qrt.runtime.checks import shown

DEFAULT_S = 300.0
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_TERM.pattern})+")
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?")
_LONGEST_TEXT = 64


def keep_alive_s(value: Any) -> float:
    """Seconds of what is written as 300, "5m", "1h30m" or -1: for ever, which is infinite; 0 is
    not at all.

    Raises InputError for anything else.
    """
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        text = value.strip()
        sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
        if _NUMBER.fullmatch(text):
            return _seconds(float(sign + text))
        if _DURATION.fullmatch(text):
            total = sum(float(n) * _UNITS[unit] for n, unit in _TERM.findall(text))
            return _seconds(-total if sign else total)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return _seconds(value)
    raise InputError(
        f"keep_alive: expected seconds, a time as 5m or 1h30m, or -1 for ever; got {shown(value)}"
    )


def kept_s(value: Any) -> float | None:
    """The same of what a request may leave out."""
    return None if value is None else keep_alive_s(value)


def _seconds(number: float) -> float:
    return math.inf if number < 0 else float(min(number, 1e9))
