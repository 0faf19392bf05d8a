"""How a command line is read: every flag whole, those of llama.cpp as what they are here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.cli.llama_cpp import Row

_NUMBER_BEHIND = re.compile(r"(-[A-Za-z])(-?\d.*)")


def read(arguments: Sequence[str], command: str, ours: Mapping[str, int]) -> list[str]:
    """`arguments` with nothing but flags of ours, of which each name takes so many values.

    A flag is what it is called in full: `-ngl` is not `-n gl`; only a number may follow a letter
    at once, as in `-n5`. Raises InputError for a flag that is unknown, refused or lacks its value.
    """
    words = list(reversed(arguments))
    found: list[str] = []
    while words:
        word = words.pop()
        if word == "--":
            return [*found, word, *reversed(words)]
        if not word.startswith("-") or word == "-":
            found.append(word)
            continue
        name, equals, value = _split(word)
        behind = _NUMBER_BEHIND.fullmatch(word)
        if name in ours:
            found.append(name + equals + value)
            if not equals:
                found += (_value(name, words) for _ in range(ours[name]))
        elif behind and ours.get(behind[1]):
            found += behind.groups()
        else:
            if equals:
                words.append(value)
            found += _foreign(name, words, command, ours)
    return found


def _split(word: str) -> tuple[str, str, str]:
    """(name, "=", value) of `--name=value`; underscores of a long name are dashes."""
    if not word.startswith("--"):
        return word, "", ""
    name, equals, value = word.partition("=")
    return name.replace("_", "-"), equals, value


def _value(name: str, words: list[str]) -> str:
    """The next word, which `name` needs."""
    if not words:
        raise InputError(f"{name} needs a value")
    return words.pop()


def _foreign(name: str, words: list[str], command: str, ours: Mapping[str, int]) -> Iterator[str]:
    """What stands for a flag of llama.cpp's, whose value is taken from `words`."""
    row = _row(name, command)
    if row is None:
        raise InputError(_unknown(name, command, ours))
    value = _value_of(row, name, words)
    if row.good is None or (value is not None and not re.fullmatch(row.good, value)):
        shown = name if value is None else f"{name} {value}"
        raise InputError(f"{shown}: {row.instead}")
    stands = row.ours if value is None else row.by_value.get(value, row.ours)
    if stands and stands[0] not in ours:
        raise InputError(_unknown(name, command, ours))
    return (word.format(value) for word in stands)


def _value_of(row: Row, name: str, words: list[str]) -> str | None:
    """The value of a flag, taken from `words`; None where it has none."""
    if row.value is None:
        return None
    fits = bool(words) and re.fullmatch(row.value, words[-1]) is not None
    if row.may_be_alone and not fits:
        return None
    value = _value(name, words)
    if not fits:
        raise InputError(f"{name}: {value!r} is no value that it takes")
    return value


def _row(name: str, command: str) -> Row | None:
    from qrt.cli.llama_cpp import LLAMA_CPP

    for rows in LLAMA_CPP.get(command, ()):
        for names, row in rows.items():
            if any(fnmatchcase(name, known) for known in names.split()):
                return row
    return None


def _unknown(name: str, command: str, ours: Mapping[str, int]) -> str:
    from qrt.cli.llama_cpp import LLAMA_CPP

    theirs = [
        known
        for rows in LLAMA_CPP.get(command, ())
        for names, row in rows.items()
        for known in names.split()
        if row.good is not None
    ]
    near = get_close_matches(name, [*ours, *theirs], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{name}: no such flag; {hint}`qrt {command} --help` lists them"
