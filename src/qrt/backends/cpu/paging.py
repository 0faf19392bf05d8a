"""Experts in a mapped file: the system is asked for their pages as soon as they are chosen."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import NamedTuple

from qrt.backends.cpu.fetch import Call
from qrt.backends.cpu.weights import Weight
from qrt.kernels.layout import PAGE_IN, fill

PAGING_KERNELS = ("page_in",)


@cache
def adviser() -> int:
    """The address of the system's madvise; 0 where it has none of a known form."""
    if sys.platform not in ("linux", "darwin") or sys.maxsize < 2**32:
        return 0
    return ctypes.cast(ctypes.CDLL(None).madvise, ctypes.c_void_p).value or 0


class Paged(NamedTuple):
    """The matrices that are mapped, and bytes of memory for their pages."""

    names: frozenset[str]
    n_bytes: int

    def page_in(self, weights: dict[str, Weight], routing: int) -> list[Call]:
        """Calls for matrices that have just been routed to: they take half of the pages at most."""
        calls = []
        for name, weight in weights.items():
            if name in self.names and adviser():
                size = weight.data.size // weight.shape[0]
                fields = {
                    "madvise": adviser(),
                    "weights": weight.address,
                    "n_bytes": size,
                    "page": mmap.PAGESIZE,
                    "routing": routing,
                    "most": self.n_bytes // 2 // (len(weights) * size),
                }
                calls.append(Call("page_in", fill(PAGE_IN, fields)))
        return calls
