"""What of a model fits into memory, computed before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Final

from qrt.backends.base import Footprint, Room
from qrt.errors import BackendError
from qrt.free_memory import FreeMemory
from qrt.graph.batch import PAGE_LEN
from qrt.graph.state import KV, StateGroup
from qrt.runtime.capacity import FEW_SLOTS, MOST_SLOTS, OTHERS, SPARE_POSITIONS, capacities
from qrt.runtime.pool import pages_for

OVERHEAD: Final = 192 << 20
"""What a process takes beside the model: tokenizer, kernels, libraries, stacks."""
_PART_OF_FREE: Final = 4
"""Of the memory that is left once a model is loaded, a part of this size may fill with pages."""
_SMALL_STATES: Final = 256 << 20
"""Slots that take no more than this are there where nothing says how much memory is left."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model fits: KV positions and slots of states beside one whole sequence, and the room
    for packed weights where not all of them do.
    """

    spare: int = SPARE_POSITIONS
    room: Room | None = None
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What a model needs: on its backend, and for one sequence of `n_ctx` positions."""

    footprint: Footprint
    groups: tuple[StateGroup, ...]
    n_ctx: int
    max_rows: int
    kv_bytes: int | None = None
    """Of pages beside one whole sequence; None: as much as memory allows without being short."""

    @property
    def page_bytes(self) -> int:
        """Bytes of a page in each group that has pages."""
        units = zip(self.groups, self.footprint.units, strict=True)
        return sum(size for group, size in units if isinstance(group, KV))

    @property
    def slot_bytes(self) -> int:
        """Bytes of a sequence's state: of a slot in each group that has slots."""
        return sum(self.footprint.units) - self.page_bytes

    def beside(self, left: int | None) -> tuple[int, int]:
        """Positions, and slots, beside one whole sequence, where `left` bytes are left; None:
        unknown. Slots have half of the memory for both, and what positions leave of theirs.
        """
        few = max(FEW_SLOTS, self._slots_in(_SMALL_STATES)) if self.slot_bytes else 0
        usual = pages_for(SPARE_POSITIONS) * self.page_bytes + few * self.slot_bytes
        asked = self.kv_bytes
        if asked is None:
            asked = usual if left is None else max(usual, left // _PART_OF_FREE)
        n_bytes = asked if left is None else min(asked, left)
        if not self.page_bytes:
            return 0, self._slots_in(n_bytes)
        for_pages = n_bytes - self._slots_in(n_bytes // 2) * self.slot_bytes
        positions = min(for_pages // self.page_bytes * PAGE_LEN, OTHERS * self.n_ctx)
        return positions, self._slots_in(n_bytes - pages_for(positions) * self.page_bytes)

    def _slots_in(self, n_bytes: int) -> int:
        """Slots that so much memory is enough for."""
        return min(max(n_bytes, 0) // self.slot_bytes, MOST_SLOTS) if self.slot_bytes else 0

    def state_bytes(self, n_ctx: int | None = None, spare: int = 0, slots: int = 0) -> int:
        """Bytes of what one sequence is remembered by, of `n_ctx` positions or as many as asked,
        and of `spare` positions and `slots` for others.
        """
        n_ctx = self.n_ctx if n_ctx is None else n_ctx
        counts = capacities(self.groups, n_ctx, min(n_ctx, self.max_rows), spare, slots)
        return sum(n * size for n, size in zip(counts, self.footprint.units, strict=True))

    @property
    def fixed(self) -> int:
        """Bytes that are needed whatever the context, without packed weights."""
        return OVERHEAD + self.footprint.fixed

    @property
    def n_bytes(self) -> int:
        """All bytes, packed weights among them."""
        return self.fixed + self.footprint.packed + self.state_bytes()

    @property
    def most_bytes(self) -> int:
        """All bytes, with every sequence that the model comes to hold beside the first."""
        spare, slots = self.beside(None)
        return self.fixed + self.footprint.packed + self.state_bytes(spare=spare, slots=slots)


def footprint_of(parts: Items[Footprint]) -> Footprint:
    """What all parts of a graph take together."""
    return Footprint(
        sum(part.packed for part in parts),
        sum(part.fixed for part in parts),
        tuple(map(sum, zip(*(part.units for part in parts), strict=True))),
    )


def fit(need: Need, free: FreeMemory, where: str) -> Fit:
    """Raises BackendError where a sequence of that length does not fit whatever is done."""
    if free.address_space is not None and need.n_bytes > free.address_space:
        asked, left = need.n_bytes / 1e9, free.address_space / 1e9
        raise BackendError(
            f"{where}: needs {asked:.2f} GB of address space, {left:.2f} GB are left of this "
            "process's limit; raise it (ulimit -v), or use a smaller n_ctx"
        )
    roofs = [roof for roof in (free.n_bytes, free.address_space) if roof is not None]
    if not roofs:
        return _fit(need, None)
    if free.n_bytes is not None:
        left = free.n_bytes - need.fixed - need.state_bytes()
        if left < 0:
            raise BackendError(f"{where}: {_too_long(need, free)}")
        if left < need.footprint.packed:
            return Fit(0, Room(left, free.limit))
    return _fit(need, min(roofs) - need.n_bytes)


def _fit(need: Need, left: int | None) -> Fit:
    spare, slots = need.beside(left)
    return Fit(spare, slots=slots)


def _too_long(need: Need, free: FreeMemory) -> str:
    """What to do where one sequence, or all but weights, does not fit."""
    assert free.n_bytes is not None
    fits, over = 0, need.n_ctx
    while over - fits > 1:
        middle = (fits + over) // 2
        if need.fixed + need.state_bytes(middle) <= free.n_bytes:
            fits = middle
        else:
            over = middle
    have = f"{free.n_bytes / 1e9:.2f} GB are {free.limit}"
    if fits:
        asked = need.state_bytes() / 1e9
        return (
            f"a context of {need.n_ctx} needs {asked:.2f} GB of memory for keys and values, "
            f"{need.fixed / 1e9:.2f} GB are needed for the rest, {have}; use n_ctx={fits} or less"
        )
    asked = (need.fixed + need.state_bytes(1)) / 1e9
    return (
        f"needs at least {asked:.2f} GB of memory beside packed weights, {have}; "
        "take a smaller model"
    )
