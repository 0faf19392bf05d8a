"""IQ2_XXS: 256 values in 66 bytes (2.0625 bits each), 8 sub-blocks of 32.

w = d * (scale + 0.5) / 4 * grid[point] * sign, a point and a byte of signs for 8 values.

| bytes | field |                                                                           |
|-------|-------|---------------------------------------------------------------------------|
| 0-1   | d     | f16 scale of the scales                                                   |
| 2-65  | qs    | sub-block s: 4 bytes of points, then a u32: 4 times 7 bits of signs, scale |

The eighth sign of each byte makes the number of minuses even.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import even_signs, points
from qrt.formats.quants.unpack import as_blocks, column, scaled

BLOCK = np.dtype([("d", "<f2"), ("qs", [("points", "u1", 4), ("signs", "<u4")], 8)])


def signs_and_scales(words: NDArray[np.uint32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Of u32 that hold 4 times 7 bits of signs under a scale: (n_blocks, n) -> signs
    (n_blocks, 32 * n) and scales + 0.5, (n_blocks, n).
    """
    bits = words[:, :, None] >> np.arange(0, 28, 7, dtype=np.uint32) & np.uint32(127)
    scales = (words >> 28).astype(np.float32) + np.float32(0.5)
    return even_signs(bits.astype(np.uint8).reshape(len(words), -1)), scales


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    signs, scales = signs_and_scales(b["qs"]["signs"])
    values = points("IQ2_XXS", b["qs"]["points"].reshape(len(blocks), -1))
    return scaled(values * signs, column(b["d"]) * scales * np.float32(0.25))


IQ2_XXS = QType("IQ2_XXS", 16, 256, BLOCK.itemsize, dequantize)
