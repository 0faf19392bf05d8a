"""Panels taken apart: their codes, scales and mins as vectors side by side, in cache for all rows.

Of every 32 values of `n_panels` panels there follow each other 8 vectors of codes, 4 k a lane, then
those of scales and mins; a vector has 16 lanes of each panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qrt.kernels.blocks import visit_of
from qrt.kernels.blocks.parts import fetch_nothing
from qrt.kernels.intrinsics import load_wide, scatter, store
from qrt.kernels.jit import inline
from qrt.kernels.panels import PanelFormat

K_AT_ONCE = 512
"""Values of a panel that are unpacked at a time: 18 to 24 KB of two panels, which stay in the
first-level cache while rows pass. Measured: 256 and 1024 are no faster."""

SIGNS, ONES = -0x7F7F7F80, 0x01010101
"""Of each byte of a lane the top bit, and the lowest."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where things lie in the unpacked 32 values of `n_panels` panels of a format."""

    fmt: PanelFormat
    n_panels: int

    @property
    def vector(self) -> int:
        """Bytes of a vector."""
        return 64 * self.n_panels

    @property
    def first_scale(self) -> int:
        return 8 * self.vector

    @property
    def first_min(self) -> int:
        return (8 + self.fmt.scales) * self.vector

    @property
    def size(self) -> int:
        """Bytes of 32 values."""
        return (8 + self.fmt.scales + self.fmt.mins) * self.vector


@inline
def as_codes(codes):
    """Codes that are kept as they are."""
    return codes


def signed(fmt: PanelFormat) -> Any:
    """An inline function of codes: code - zero as signed bytes."""
    zero = fmt.zero
    assert fmt.bits < 8 or zero == 128

    @inline
    def without_top_bit(codes):
        return codes ^ SIGNS

    @inline
    def less_zero(codes):
        return ((codes | SIGNS) - zero * ONES) ^ SIGNS

    return {0: as_codes, 128: without_top_bit}.get(zero, less_zero)


def unpack_of(parts: Parts, change: Any) -> Any:
    """unpack(target, p, n_blocks): the blocks of one panel at p, their codes through `change`."""
    fmt, vector, part = parts.fmt, parts.vector, parts.size
    two_scales, any_mins, two_mins = fmt.scales == 2, fmt.mins > 0, fmt.mins == 2
    first_scale, first_min = parts.first_scale, parts.first_min
    size = fmt.panel_bytes

    @inline
    def keep(target, codes, scales, mins, x):
        scatter(target, vector, change(codes))
        store(target + first_scale, scales[0])
        if two_scales:
            store(target + first_scale + vector, scales[1])
        if any_mins:
            store(target + first_min, mins[0])
        if two_mins:
            store(target + first_min + vector, mins[1])
        return target + part

    visit = visit_of(fmt.qtype)(keep, fetch_nothing)

    @inline
    def unpack(target, p, n_blocks):
        for _ in range(n_blocks):
            target = visit(target, p, 0, 0)
            p += size

    return unpack


def numbers(count: int, lanes: int, stride: int) -> Any:
    """An inline function of an address: `count` vectors, `stride` bytes apart."""
    load = load_wide(lanes)

    @inline
    def none(p):
        return ()

    @inline
    def one(p):
        return (load(p),)

    @inline
    def two(p):
        return load(p), load(p + stride)

    return (none, one, two)[count]
