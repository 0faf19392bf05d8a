"""The short names of well-known models, from the table inside this package."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from qrt.errors import InputError
from qrt.hub.names import HubName
from qrt.hub.quants import BITS, DEFAULT_QUANT, is_quant

KV_TOKENS = 4096
"""The context for which the memory of a model is told."""

_VERSION = "0123456789."
_F16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A short name; its fields are explained in the table."""

    name: str
    repo: str
    arch: str
    quant: str = DEFAULT_QUANT
    params: float
    active: float | None = None
    kv: tuple[int, int, int]
    windowed: tuple[int, int, int, int] | None = None

    @property
    def kv_bytes(self) -> int:
        """Bytes of the KV cache in f16 at a context of KV_TOKENS."""
        from qrt.graph.state import KV, PAGE_LEN
        from qrt.runtime.capacity import needs

        groups = [KV((0,) * n, dim, dim, heads) for n, heads, dim in [self.kv]]
        if self.windowed is not None:
            n, heads, dim, window = self.windowed
            groups.append(KV((0,) * n, dim, dim, heads, window))
        pages = zip(groups, needs(groups, KV_TOKENS, 1), strict=True)
        held = 0
        for group, n_pages in pages:
            values = group.n_kv_heads * (group.k_width + group.v_width)
            held += n_pages * len(group.layers) * PAGE_LEN * values * _F16_BYTES
        return held

    @property
    def quants(self) -> tuple[str, ...]:
        """What is fetched where none is named, and what is best: the weights of MXFP4 have no more
        to give.
        """
        return (self.quant,) if self.quant == "MXFP4" else (self.quant, "Q8_0")

    def file_bytes(self, quant: str) -> int:
        """About the bytes of a file in a quantization that BITS has."""
        return round(self.params * 1e9 * BITS[quant] / 8)


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in row.items()}


@functools.cache
def catalogue() -> dict[str, Entry]:
    """Every entry by its name, in the order of the table."""
    text = (resources.files("qrt") / "data" / "catalogue.toml").read_text(encoding="utf-8")
    return {name: Entry(name=name, **_frozen(row)) for name, row in tomllib.loads(text).items()}


def find(text: str) -> tuple[Entry, HubName] | None:
    """The entry of NAME or NAME:QUANT, and what it asks of the hub; None for another text.

    A family of one size needs no size, one of one version no version, in any case of letters.
    Raises InputError for a family whose size is not named.
    """
    lower = text.lower().removesuffix(":latest")
    entry = _entry(lower)
    if entry is not None:
        return entry, HubName(entry.repo)
    head, _, quant = lower.rpartition(":")
    if not (head and is_quant(quant)) or (entry := _entry(head)) is None:
        return None
    return entry, HubName(entry.repo, quant=quant.upper())


def _entry(name: str) -> Entry | None:
    """The entry of a name in lower case, or the only one of a family."""
    entries = catalogue()
    if name in entries:
        return entries[name]
    families = {known: known.partition(":")[0] for known in entries}
    sizes = [known for known, family in families.items() if family == name]
    sizes = sizes or [k for k, family in families.items() if family.rstrip(_VERSION) == name]
    if len(sizes) > 1:
        raise InputError(f"{name}: give its size too: {', '.join(sizes)}")
    return entries[sizes[0]] if sizes else None


def short_name(repo: str, quant: str | None) -> str | None:
    """What the catalogue calls a model of the hub."""
    for entry in catalogue().values():
        if entry.repo == repo and quant is not None:
            return entry.name if quant == entry.quant else f"{entry.name}:{quant}"
    return None


def runs(arch: str) -> bool:
    """Whether qrt can run this architecture."""
    from qrt.arch.registry import architecture_names

    return arch in architecture_names()
