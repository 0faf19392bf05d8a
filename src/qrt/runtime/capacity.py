"""How many pages or slots of each state group a model gets."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Final

from qrt.graph.state import KV, StateGroup
from qrt.runtime.pages import SLACK
from qrt.runtime.pool import pages_for

SPARE_POSITIONS: Final = 8192
"""KV positions beside the first sequence, for others and for prefixes, where nothing says how many
there is memory for; untouched pages cost address space, not memory."""
OTHERS: Final = 15
"""Whole sequences beside the first, and so many contexts' prefixes, that have pages at most."""
LEAST_SLOTS: Final = 3
"""Those of one sequence: its state, the one that a step writes, and a snapshot."""
FEW_SLOTS: Final = 5
"""Beside those, of others and of prefixes, where states are too large for more."""
MOST_SLOTS: Final = 1024
"""Beside those at most, however small a state is."""


def capacities(
    groups: Items[StateGroup],
    n_ctx: int,
    max_rows: int,
    spare: int = SPARE_POSITIONS,
    slots: int = FEW_SLOTS,
) -> tuple[int, ...]:
    """The pages or slots of each group: enough for a sequence of `n_ctx` and others beside it.

    Of attention, the others have at most `spare` positions, of states `slots`.
    """
    return tuple(
        _held(group, n_ctx, max_rows) + pages_for(min(OTHERS * n_ctx, spare))
        if isinstance(group, KV)
        else LEAST_SLOTS + slots
        for group in groups
    )


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
