"""How chat templates are told whether, and how much, to think."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_THINKS: Mapping[str, tuple[Any, Any]] = {
    "enable_thinking": (True, False),
    "thinking": (True, False),
    "reasoning_effort": ("high", "low"),
}
"""Variables of chat templates: their values with and without thinking."""
_EFFORT = "reasoning_effort"


def template_vars(
    template: str, think: bool | None = None, reasoning_effort: str | None = None
) -> dict[str, Any]:
    """The variables that make a chat template ask for thoughts, or for none; no variables where it
    has no switch.

    reasoning_effort: a word that the template knows, as "low" or "high"; where it only knows
    thinking or not, "none" and "minimal" are none.
    """
    if think is None and reasoning_effort is not None:
        think = reasoning_effort not in ("none", "minimal")
    if think is None:
        return {}
    given = {name: values[not think] for name, values in _THINKS.items() if _has(template, name)}
    if _EFFORT in given and reasoning_effort is not None:
        given[_EFFORT] = reasoning_effort if think else "low"
    return given


def _has(template: str, name: str) -> bool:
    return re.search(rf"(?<![\w.'\"]){name}(?![\w'\"])", template) is not None
