"""How much of each adapter a generation uses, and what keeps its pages from those of others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any, Final

from qrt.errors import InputError
from qrt.runtime.checks import check_float, shown

MAX_ADAPTERS: Final = 64
MAX_SCALE: Final = 1e4

_Path = str | os.PathLike[str]
LoraLike = _Path | Items[_Path | tuple[_Path, float]]
Asked = tuple[tuple[str, float], ...]
"""Files of adapters and how much of each is used."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank adapter of a loaded model.

    name: what `lora` of a generation calls it: its file's name without the ending. scale: how much
    of it is used where a generation does not say. digest: of its file. task_name, prompt_prefix:
    what the file says that it is for, and that prompts should begin with.
    """

    name: str
    path: str
    scale: float
    digest: bytes
    task_name: str = ""
    prompt_prefix: str = ""


def asked_for(lora: Any) -> Asked:
    """The files and scales of `lora`: a list of paths, or of pairs of a path and a scale.

    Raises InputError.
    """
    single = isinstance(lora, str | os.PathLike)
    entries = (lora,) if single else lora
    if not isinstance(entries, Items) or len(entries) > MAX_ADAPTERS:
        expected = f"a list of at most {MAX_ADAPTERS} paths, or pairs of a path and a scale"
        raise InputError(f"lora must be {expected}, got {shown(lora)}")
    return tuple(map(_asked, entries))


def _asked(entry: Any) -> tuple[str, float]:
    path, scale = entry if isinstance(entry, tuple | list) and len(entry) == 2 else (entry, 1.0)
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"lora must hold paths, or pairs of a path and a scale, got {shown(entry)}"
        )
    return os.fspath(path), checked_scale(f"the scale of {shown(path)}", scale)


def checked_scale(name: str, scale: Any) -> float:
    """A scale that may be used. Raises InputError."""
    return check_float(name, scale, -MAX_SCALE, MAX_SCALE) + 0.0  # no -0.0


def scales_of(adapters: Items[Adapter], lora: Mapping[str, float] | None) -> tuple[float, ...]:
    """How much of each adapter a generation uses that asks for `lora`; None: what the model says.

    Raises InputError for an adapter that there is not.
    """
    if lora is None:
        return tuple(adapter.scale for adapter in adapters)
    names = [adapter.name for adapter in adapters]
    for name in lora.keys() - names:
        known = f"there are {', '.join(names)}" if names else "the model was loaded without any"
        raise InputError(f"lora: there is no adapter {shown(name)}; {known}")
    return tuple(lora.get(name, 0.0) for name in names)


def checked_lora(lora: Any) -> dict[str, float]:
    """What a generation asks for: scales by the names of adapters. Raises InputError."""
    if not isinstance(lora, Mapping) or not all(isinstance(name, str) for name in lora):
        raise InputError(f"lora must map names of adapters to scales, got {shown(lora)}")
    return {name: checked_scale(f"lora[{shown(name)}]", scale) for name, scale in lora.items()}


def salted(salt: str | None, scales: tuple[float, ...], text: Items[int] = ()) -> str | None:
    """With whom a generation of these scales, and of this text that an encoder reads, shares what
    is stored: not with one of others."""
    if salt is None:
        return None
    parts = [",".join(map(float.hex, scales))] if scales else []
    if text:
        parts.append(hashlib.sha256(f"{text}".encode()).hexdigest())
    return ";".join((*parts, salt))
