"""How V lies in a page."""

from __future__ import annotations

from qrt.kernels.instructions import register_lanes


def dims_at_once() -> int:
    """Dimensions of a value that the selected tier takes at once, and which lie together: a part of
    V is (PAGE, so many), then the same of the next; at the end it may be (PAGE, 32).
    """
    return 64 if register_lanes() == 16 else 32
