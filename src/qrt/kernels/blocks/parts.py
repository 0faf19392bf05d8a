"""Pieces that several block formats share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qrt.kernels.addresses import prefetch_weights
from qrt.kernels.instructions import offers
from qrt.kernels.intrinsics import load_i32x16, load_i32x64, lookup, lookup_f32, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat

IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)

E2M1_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)

lookup_iq4 = lookup(tuple(value + 128 for value in IQ4_VALUES))
lookup_e2m1 = lookup(tuple(value + 12 for value in E2M1_VALUES))


@inline
def fetch(p, n_bytes):
    """Asks for the n_bytes that are needed soon after those at p."""
    for at in range(0, n_bytes, 64):
        prefetch_weights(p + at)


def in_a_row(fetch: Any, n_bytes: int) -> Any:
    """fetch(p) of n_bytes without a loop: for steps that have no time for one, and that are in a
    loop themselves, without which all of their prefetches would come in one burst.
    """
    line = min(n_bytes, 64)

    @inline
    def last(p):
        fetch(p, line)

    if n_bytes <= 64:
        return last
    others = in_a_row(fetch, n_bytes - 64)

    @inline
    def lines(p):
        fetch(p, line)
        others(p + line)

    return lines


@inline
def fetch_nothing(p, n_bytes):
    """In place of `fetch`, for weights that are in a cache already."""


@inline
def nibbles(p):
    """32 codes: the low nibbles of 16 bytes a row, then the high ones."""
    v = load_i32x64(p)
    return concat(v & 0x0F0F0F0F, (v >> 4) & 0x0F0F0F0F)


@inline
def fifth_bits(bits):
    """Bit 4 of 32 codes, from words whose bit 8 b + g belongs to element 4 g + b."""
    ones = 0x10101010
    low = concat(
        concat((bits << 4) & ones, (bits << 3) & ones),
        concat((bits << 2) & ones, (bits << 1) & ones),
    )
    high = concat(
        concat(bits & ones, (bits >> 1) & ones),
        concat((bits >> 2) & ones, (bits >> 3) & ones),
    )
    return concat(low, high)


@inline
def byte_f32(words, shift):
    """One unsigned byte of each word as float."""
    return to_f32((words >> shift) & 0xFF)


def floats(numbers: Sequence[int], computed: Any) -> Any:
    """An inline function of words: what stands in `numbers` for the lowest four bits of each, as a
    float; `computed` does the same where floats cannot be looked up.
    """
    return lookup_f32(numbers) if offers("lookup_f32") else computed


@inline
def _odd(words):
    return to_f32(((words << 1) & 30) | 1)


odd_nibbles = floats([2 * i + 1 for i in range(16)], _odd)
"""2 * s + 1 of the lowest four bits s of each word."""


@inline
def k_scales(p, half):
    """Four 6-bit scales and four mins, a word each: the first or second half of Q4_K's 12 bytes."""
    a, b, c = load_i32x16(p), load_i32x16(p + 64), load_i32x16(p + 128)
    if half == 0:
        return a & 0x3F3F3F3F, b & 0x3F3F3F3F
    return (
        (c & 0x0F0F0F0F) | ((a >> 2) & 0x30303030),
        ((c >> 4) & 0x0F0F0F0F) | ((b >> 2) & 0x30303030),
    )
