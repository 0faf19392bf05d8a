"""What a text asks of the hub, and what may be meant by one that names no model."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches

from qrt.errors import InputError
from qrt.hub.catalogue import Entry, catalogue, find, short_name
from qrt.hub.names import SUFFIX, HubName, parse_hub_name
from qrt.hub.quants import HubFile, HubModel

_ENDING = "-gguf"
"""How the names of repositories end that hold such files."""
_ALIKE = 0.8
"""The least similarity of names, from 0 to 1."""
_MOST = 3
_WORDS = re.compile(r"[\w.-]+(?::[\w.-]+)?")
_SIZED = re.compile(r"[\w.-]+:(?:latest|e?\d+(?:\.\d+)?[bm](?:-[\w.-]+)?)", re.IGNORECASE)


def asked_of_hub(text: str) -> tuple[Entry | None, HubName]:
    """What a short name, a repository, hf:... or a link asks of the hub, with the entry it is
    known by.

    Raises InputError for anything else.
    """
    known = find(text)
    if known is not None:
        return known
    try:
        name = parse_hub_name(text)
    except InputError as error:
        meant = hint(text)
        raise InputError(f"{error}; {meant}" if meant else f"{error}") from None
    lower = name.repo.lower()
    return next((e for e in catalogue().values() if e.repo.lower() == lower), None), name


def near_names(text: str) -> list[str]:
    """The short names that are nearly a text, whose size other words may follow; nearest first."""
    family, colon, size = text.lower().partition(":")
    if not colon:
        families = list(dict.fromkeys(name.partition(":")[0] for name in catalogue()))
        near = get_close_matches(family, families, 1, _ALIKE)
        return [name for name in catalogue() if name.partition(":")[0] in near][:_MOST]
    return get_close_matches(family + colon + size.partition("-")[0], catalogue(), _MOST, _ALIKE)


def is_sized(text: str) -> bool:
    """Whether a text is written as NAME:SIZE, as 7b or 1.5b-instruct are, known or not."""
    return _SIZED.fullmatch(text) is not None


def hint(text: str) -> str:
    """What may be meant by the path or name of a model that is not there; empty if nothing is near.

    A file of the same folder, what `qrt pull` fetches under the name of the file, short names, or
    what to search for.
    """
    folder, name = os.path.split(text)
    if name.lower().endswith(SUFFIX):
        beside = get_close_matches(name, _files(folder), 1, _ALIKE)
        if beside:
            return f"the nearest is {os.path.join(folder, beside[0])}"
        fetched = _published(name)
        return f"`qrt pull {fetched}` fetches a model of this name" if fetched else ""
    if near := near_names(text):
        names = "names are" if len(near) > 1 else "name is"
        return f"the nearest {names} {', '.join(near)}; `qrt pull {near[0]}`"
    words = text.replace(":", " ")
    return f"`qrt search {words}` asks the hub" if _WORDS.fullmatch(text) else ""


def _files(folder: str) -> list[str]:
    try:
        names = os.listdir(folder or os.curdir)
    except (OSError, ValueError):  # ValueError: a path with a zero byte
        return []
    return [name for name in names if name.lower().endswith(SUFFIX)]


def _published(file: str) -> str | None:
    """The short name of the repository that has its files under this name."""
    quant = HubModel((HubFile(file, 0),)).quant
    stem = file[: -len(SUFFIX)].lower()
    if quant is not None:
        stem = stem[: -len(quant) - 1]
    for entry in catalogue().values():
        if entry.repo.partition("/")[2].lower().removesuffix(_ENDING) == stem:
            return short_name(entry.repo, quant) or entry.name
    return None
