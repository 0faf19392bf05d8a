"""NVFP4: 64 values in 36 bytes (4.5 bits each), 4 sub-blocks of 16.

w = d * LEVELS[q] with the scale of the value's sub-block and the levels of MXFP4. A model may have
a float for each tensor beside it, which is no part of the block.

| bytes | field |                                                                             |
|-------|-------|-----------------------------------------------------------------------------|
| 0-3   | d     | UE4M3, one a sub-block: 4 bits of exponent over 3 of mantissa, bias 7, halved |
| 4-35  | qs    | 4-bit q: byte 8*s + j holds values 16*s + j (low nibble), 16*s + 8 + j      |

The top bit of a scale is not read, and 0x7F, a NaN, counts as 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.mxfp4 import LEVELS
from qrt.formats.quants.unpack import as_blocks, fields, scaled

BLOCK = np.dtype([("d", "u1", 4), ("qs", "u1", 32)])


def ue4m3(d: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Half the number that each byte stands for: as float16 it lacks a factor of 2**8."""
    bits = np.where(d == 0x7F, np.uint8(0), d & 0x7F).astype(np.uint16) << 7
    return bits.view(np.float16).astype(np.float32) * np.float32(128)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return scaled(LEVELS[fields(b["qs"], 8, 4)], ue4m3(b["d"]))


NVFP4 = QType("NVFP4", 40, 64, BLOCK.itemsize, dequantize)
