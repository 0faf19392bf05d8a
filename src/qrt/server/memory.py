"""Whether another model fits into memory beside those that are loaded, known before it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qrt.free_memory import FreeMemory, free_memory
from qrt.runtime.fitting import OVERHEAD, Need, fit
from qrt.runtime.loader import LoadOptions, need_of

BESIDE_OTHERS: Mapping[str, Any] = {"kv_bytes": 1 << 30}
"""Keywords of `qrt.load` for each of several models, unless its settings say otherwise: alone, one
would let its pages fill a part of the memory that others are to be loaded into."""

LookAtMemory = Callable[[], FreeMemory]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a model takes beside others. n_units: pages or slots that it got in each state group;
    None: it is not loaded yet.
    """

    need: Need
    n_units: tuple[int, ...] | None = None

    @property
    def own_bytes(self) -> int:
        """Without what the process has anyway: weights, working memory, one sequence."""
        return self.need.n_bytes - OVERHEAD

    @property
    def pending_bytes(self) -> int:
        """What may still be taken of memory that counts as free: pages, none of them touched yet
        for all that is known."""
        need = self.need
        if self.n_units is None:
            return need.most_bytes - need.n_bytes + need.state_bytes()
        return sum(n * size for n, size in zip(self.n_units, need.footprint.units, strict=True))


def claim_of(path: Path, load: Mapping[str, Any]) -> Claim:
    """What a file takes if it is loaded with these keywords of `qrt.load`.

    Raises what loading it raises before it looks at the memory there is.
    """
    given = {**BESIDE_OTHERS, **load}
    keywords = {name: value for name, value in given.items() if name != "chat_template"}
    return Claim(need_of(path, LoadOptions(**keywords)))


def fits(claim: Claim, others: Iterable[Claim], look: LookAtMemory = free_memory) -> bool:
    """Whether a model fits whole beside others that are loaded, whatever they still take."""
    free = look()
    pending = sum(other.pending_bytes for other in others)
    roofs = [roof for roof in (free.n_bytes, free.address_space) if roof is not None]
    return not roofs or claim.need.most_bytes + pending <= min(roofs)


def check_alone(
    claim: Claim, others: Iterable[Claim], where: str, look: LookAtMemory = free_memory
) -> None:
    """Raises BackendError for a model that does not fit even once all others are gone."""
    free = look()
    held = sum(other.own_bytes for other in others)
    if free.n_bytes is not None:
        fit(claim.need, replace(free, n_bytes=free.n_bytes + held, address_space=None), where)
