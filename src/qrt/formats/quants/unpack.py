"""Bit unpacking shared by the block formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_blocks(blocks: NDArray[np.uint8], layout: np.dtype[Any]) -> NDArray[Any]:
    """uint8 (n_blocks, block_bytes) seen as (n_blocks,) records of `layout`."""
    return blocks.view(layout)[:, 0]


def column(field: NDArray[np.float16]) -> NDArray[np.float32]:
    """float16 (n_blocks,) -> float32 (n_blocks, 1)"""
    return field.astype(np.float32)[:, None]


def fields(packed: NDArray[np.uint8], run: int, bits: int) -> NDArray[np.uint8]:
    """Splits bytes into `8 / bits` fields of `bits` bits, lowest first, run by run.

    Of every `run` bytes come first the lowest fields of all, then the next higher ones, and so on:
    (n_blocks, n) -> (n_blocks, n * 8 / bits).
    """
    n_blocks = packed.shape[0]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    runs = packed.reshape(n_blocks, -1, 1, run)
    return ((runs >> shifts) & np.uint8(2**bits - 1)).reshape(n_blocks, -1)


def scales_and_mins(packed: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 8 scales and 8 minimums, 6 bits each, that Q4_K and Q5_K pack into 12 bytes.

    Bytes 0-3: scales 0-3 in bits 0-5, bits 4-5 of scales 4-7 in bits 6-7. Bytes 4-7: the same for
    the minimums. Bytes 8-11: bits 0-3 of scales 4-7 (low nibble) and of minimums 4-7 (high nibble).
    (n_blocks, 12) -> two of (n_blocks, 8).
    """
    top = (packed[:, :8] >> 6) << 4
    scales, mins = np.empty_like(top), np.empty_like(top)
    scales[:, :4] = packed[:, 0:4] & 63
    scales[:, 4:] = packed[:, 8:12] & 15 | top[:, 0:4]
    mins[:, :4] = packed[:, 4:8] & 63
    mins[:, 4:] = packed[:, 8:12] >> 4 | top[:, 4:8]
    return scales, mins


def scaled(
    q: NDArray[Any], scales: NDArray[np.float32], mins: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """q * scale - min, one scale (and min) for each equal run of a block.

    q (n_blocks, block_size), scales and mins (n_blocks, n_runs) -> float32 (n_blocks, block_size).
    """
    out = q.astype(np.float32).reshape(*scales.shape, -1)
    out *= scales[:, :, None]
    if mins is not None:
        out -= mins[:, :, None]
    return out.reshape(q.shape)


def inverse(d: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / d, and 0 where d is so small (or 0) that its inverse is not finite."""
    tiny = np.abs(d) < np.float32(2.0**-127)
    return np.where(tiny, np.float32(0), np.float32(1) / np.where(tiny, np.float32(1), d))
