"""How many pages or slots of each state group a model gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from typing import Any, Final

from qrt.graph.state import KV, Recurrent, StateGroup
from qrt.runtime.pages import SLACK
from qrt.runtime.pool import pages_for
from qrt.runtime.slots import SNAPSHOTS

SPARE_POSITIONS: Final = 8192
"""KV positions beside the first sequence, for others and for prefixes, where nothing says how many
there is memory for; untouched pages cost address space, not memory."""
OTHERS: Final = 15
"""Whole sequences beside the first, and so many contexts' prefixes, that have pages at most."""
_SEQUENCES: Final = 16
"""Sequences that have slots for a state, for the one that a step writes, and for all snapshots."""


def capacities(
    groups: Items[StateGroup], n_ctx: int, max_rows: int, spare: int = SPARE_POSITIONS
) -> tuple[int, ...]:
    """The pages or slots of each group: enough for a sequence of `n_ctx` and others beside it.

    Of attention, the others have at most `spare` positions.
    """
    return tuple(_CAPACITY[type(group)](group, n_ctx, max_rows, spare) for group in groups)


def needs(groups: Items[StateGroup], n_positions: int, max_rows: int) -> tuple[int, ...]:
    """The pages or slots of each group that a sequence comes to hold on its way to there."""
    return tuple(
        _held(group, n_positions, max_rows) if isinstance(group, KV) else 2 for group in groups
    )


def _held(group: KV, n_positions: int, max_rows: int) -> int:
    """Pages of a sequence, with the rows of a step; those behind a window are let go."""
    n_pages = pages_for(n_positions)
    if group.window is None:
        return n_pages
    return min(n_pages, pages_for(group.window + SLACK + max_rows) + 1)


def _pages(group: KV, n_ctx: int, max_rows: int, spare: int) -> int:
    return _held(group, n_ctx, max_rows) + pages_for(min(OTHERS * n_ctx, spare))


def _slots(group: Recurrent, n_ctx: int, max_rows: int, spare: int) -> int:  # noqa: ARG001
    return _SEQUENCES * (2 + SNAPSHOTS)


_CAPACITY: Final[Mapping[type, Callable[[Any, int, int, int], int]]] = {
    KV: _pages,
    Recurrent: _slots,
}
