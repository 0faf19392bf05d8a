"""Text that knows which of its characters a chat template wrote itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, SupportsIndex

_FIELD = re.compile(r"%(.)", re.DOTALL)
_PLAIN_FIELDS: Final = frozenset("sd%")
_ALIGNED: Final = "capitalize casefold lower swapcase title upper"
_CUT: Final = "rsplit split splitlines partition rpartition"
_STRIPPED: Final = "lstrip removeprefix removesuffix rstrip strip"


class Traced(str):
    """A str whose `own` holds "1" for each character that the template wrote, else "0".

    A str that is not Traced counts as foreign, and so does all that an operation makes which is
    not defined here: what a message says can never be taken for the template's words.
    """

    __slots__ = ("own",)
    own: str

    def __new__(cls, text: str, own: str | None = None) -> Traced:
        made = super().__new__(cls, text)
        made.own = "0" * len(text) if own is None else own
        return made

    def __str__(self) -> str:
        return self

    def __sizeof__(self) -> int:
        return super().__sizeof__() + len(self.own)

    def __add__(self, other: str) -> str:
        return joined((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return joined((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, count: SupportsIndex) -> str:
        return Traced(str.__mul__(self, count), self.own * count)

    __rmul__ = __mul__

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return Traced(str.__getitem__(self, key), self.own[key])

    def __mod__(self, values: Any) -> str:
        conversions = _FIELD.findall(self)
        given = values if isinstance(values, tuple) else (values,)
        if (
            isinstance(values, dict)
            or not _PLAIN_FIELDS.issuperset(conversions)
            or "%" in _FIELD.sub("", self)
            or len(given) != sum(kind != "%" for kind in conversions)
        ):
            return str.__mod__(self, values)  # of no known origin, or an error
        parts: list[str] = []
        at = taken = 0
        for field in _FIELD.finditer(self):
            parts.append(self[at : field.start()])
            at = field.end()
            if field[1] == "%":
                parts.append(self[at - 1 : at])
            else:
                value = given[taken]
                taken += 1
                parts.append(str(value) if field[1] == "s" else str.__mod__(field[0], (value,)))
        return joined((*parts, self[at:]))

    def join(self, items: Iterable[str]) -> str:
        parts: list[str] = []
        for item in items:
            parts += (self, item) if parts else (item,)
        return joined(parts)

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> str:
        if not old:
            return str.replace(self, old, new, count)
        return traced(new).join(self.split(old, count))


def traced(text: str) -> Traced:
    """`text`, foreign unless something is known of it."""
    return text if isinstance(text, Traced) else Traced(text)


def joined(parts: Iterable[str]) -> str:
    """The parts as one text, each with its origin."""
    parts = list(parts)
    text = "".join(parts)
    if not any(isinstance(part, Traced) for part in parts):
        return text
    own = "".join(part.own if isinstance(part, Traced) else "0" * len(part) for part in parts)
    return Traced(text, own)


@lru_cache(maxsize=1024)
def own(text: str) -> Traced:
    """`text` as the template's own."""
    return Traced(text, "1" * len(text))


def runs(text: str) -> list[int]:
    """Lengths of the runs of own and foreign characters in turn; own ones come first."""
    if not isinstance(text, Traced):
        return [0, len(text)]
    lengths = [len(run) for run in re.findall("1+|0+", text.own)]
    return lengths if text.own.startswith("1") else [0, *lengths]


def _aligned(name: str) -> Callable[..., str]:
    """A method that changes characters where they stand."""
    plain = getattr(str, name)

    def method(self: Traced) -> str:
        text = plain(self)
        return Traced(text, self.own) if len(text) == len(self) else text

    return method


def _cut(name: str) -> Callable[..., Any]:
    """A method that returns parts of the text in order."""
    plain = getattr(str, name)

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        at = 0
        parts = []
        found = plain(self, *args, **kwargs)
        for part in found:
            start = self.index(part, at)
            at = start + len(part)
            parts.append(self[start:at])
        return type(found)(parts)

    return method


def _stripped(name: str) -> Callable[..., str]:
    """A method that takes something off the ends."""
    plain = getattr(str, name)
    keeps_start = name in ("rstrip", "removesuffix")

    def method(self: Traced, *args: Any) -> str:
        n = len(plain(self, *args))
        if name == "strip":
            start = len(self) - len(str.lstrip(self, *args)) if n else 0
        else:
            start = 0 if keeps_start else len(self) - n
        return self[start : start + n]

    return method


for _names, _kind in ((_ALIGNED, _aligned), (_CUT, _cut), (_STRIPPED, _stripped)):
    for _name in _names.split():
        _method = _kind(_name)
        _method.__name__ = _name
        setattr(Traced, _name, _method)
