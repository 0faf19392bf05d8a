"""The short names of well-known models, from the table inside this package."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources

from qrt.errors import InputError
from qrt.hub.names import HubName, parse_hub_name
from qrt.hub.quants import DEFAULT_QUANT

KV_TOKENS = 4096
"""The context for which the memory of a model is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A short name. `kv` is (layers, kv heads, dim of a head), None where it is not told."""

    name: str
    repo: str
    arch: str
    quant: str = DEFAULT_QUANT
    kv: tuple[int, int, int] | None = None

    @property
    def kv_bytes(self) -> int | None:
        """Bytes of the KV cache in f16 at a context of KV_TOKENS."""
        if self.kv is None:
            return None
        n_layers, n_kv_heads, head_dim = self.kv
        return KV_TOKENS * n_layers * n_kv_heads * head_dim * 2 * 2


@functools.cache
def catalogue() -> dict[str, Entry]:
    """Every entry by its name, in the order of the table."""
    text = (resources.files("qrt") / "data" / "catalogue.toml").read_text(encoding="utf-8")
    return {
        name: Entry(name=name, **row | {"kv": tuple(row["kv"]) if "kv" in row else None})
        for name, row in tomllib.loads(text).items()
    }


def find(text: str) -> tuple[Entry, HubName] | None:
    """The entry of NAME or NAME:QUANT, and what it asks of the hub; None for another text.

    Raises InputError for a family whose size is not named.
    """
    entries = catalogue()
    head, _, quant = text.rpartition(":")
    if text in entries:
        return entries[text], HubName(entries[text].repo)
    if head in entries:
        return entries[head], HubName(entries[head].repo, quant=quant)
    sizes = [name for name in entries if name.partition(":")[0] == text]
    if sizes:
        raise InputError(f"{text}: give its size too: {', '.join(sizes)}")
    return None


def asked_of_hub(text: str) -> tuple[Entry | None, HubName]:
    """What a short name, a repository or hf:... asks of the hub, with the entry it is known by.

    Raises InputError for anything else.
    """
    known = find(text)
    if known is not None:
        return known
    name = parse_hub_name(text.removeprefix("hf:"))
    return next((e for e in catalogue().values() if e.repo == name.repo), None), name


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
