"""Memory that kernels read and write: aligned, on huge pages where asked, never moved."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from qrt.errors import BackendError

HUGE = 2 * 1024 * 1024

_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""Python's default is shared memory, which gets no huge pages and is slower to touch."""


def reserve(n_bytes: int, *, huge: bool = False) -> NDArray[np.uint8]:
    """Zeroed bytes, aligned to a page, that take up memory only once they are touched.

    Raises BackendError where the system refuses.
    """
    try:
        mapping = mmap.mmap(-1, max(n_bytes, 1), **_PRIVATE)
    except (OSError, OverflowError):
        size = f"{n_bytes / 2**30:.1f} GiB"
        raise BackendError(f"cannot reserve {size} of memory; use a smaller n_ctx") from None
    if huge and n_bytes >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, np.uint8)[:n_bytes]


def address(array: NDArray[np.generic]) -> int:
    """Where an array's first byte lies."""
    return int(array.__array_interface__["data"][0])
