"""The budget of time and memory within which a chat template runs."""

from __future__ import annotations

import sys
import time
from collections.abc import ItemsView, Iterable, KeysView, ValuesView
from types import GeneratorType
from typing import Any, Final

from jinja2.utils import Namespace

from qrt.errors import TemplateError
from qrt.text.chat_limits import Limits

NODE_WEIGHT: Final = 16
"""What an item weighs beside its characters."""
_MAX_INT_BITS: Final = 1 << 16


class Budget:
    """What is left to one render. Raises TemplateError when it is used up."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._memory_left = limits.memory_bytes

    def tick(self, n_bytes: int = 0) -> None:
        """Account for a step that makes `n_bytes`."""
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the chat template ran longer than {self.limits.seconds:g} s")
        self._memory_left -= n_bytes
        if self._memory_left < 0:
            raise TemplateError(
                f"the chat template made more than {self.limits.memory_bytes >> 20} MiB of values"
            )

    def check(self, weight: int) -> None:
        """Refuse a value of more than the allowed weight."""
        if weight > self.limits.value_weight:
            raise TemplateError("the chat template makes a value that is too large")

    def weigh(self, value: object) -> int:
        """Weight of a value with all it holds, each time that it holds it."""
        weight = 0
        pending = [value]
        while pending:
            item = pending.pop()
            if isinstance(item, str | bytes):
                weight += len(item)
            elif isinstance(item, list | tuple | KeysView | ItemsView | ValuesView):
                pending.extend(item)
            elif isinstance(item, dict):
                pending.extend(item.items())
            elif isinstance(item, Namespace):
                pending.extend(object.__getattribute__(item, "_Namespace__attrs").items())
            elif isinstance(item, int) and item.bit_length() > _MAX_INT_BITS:
                self.check(item.bit_length() << 8)
            weight += NODE_WEIGHT
            self.check(weight)
        return weight

    def made(self, value: Any) -> Any:
        """Account for a value that the template made, and return it; iterators become lists."""
        if isinstance(value, GeneratorType):
            value = self.listed(value)
        weight = 0
        if value is not None and not isinstance(value, bool):
            weight = self.weigh(value)
        self.tick(sys.getsizeof(value) if weight > NODE_WEIGHT else 0)
        return value

    def text(self, value: object) -> str:
        """`value` as text, accounted for."""
        if not isinstance(value, str):
            self.weigh(value)
            value = str(value)
        self.check(len(value))
        self.tick(sys.getsizeof(value))
        return value

    def listed(self, items: Iterable[Any]) -> list[Any]:
        """What an iterator yields, as a list of allowed length."""
        found = []
        for item in items:
            found.append(item)
            self.check(len(found) * NODE_WEIGHT)
            self.tick()
        return found
