"""IQ4_XS: 256 values in 136 bytes (4.25 bits each), 8 sub-blocks of 32.

w = (d * (scale - 32)) * LEVELS[q] with the 6-bit scale of the value's sub-block and the levels of
IQ4_NL.

| bytes | field    |                                                                              |
|-------|----------|------------------------------------------------------------------------------|
| 0-1   | d        | f16 scale of the scales                                                      |
| 2-3   | scales_h | bits 4-5 of scale s in bits 2s, little-endian u16                            |
| 4-7   | scales_l | bits 0-3 of scale s: even s in the low nibble of byte s / 2, odd in the high |
| 8-135 | qs       | 4-bit q: byte 16*s + j holds values 32*s + j (low nibble), 32*s + 16 + j     |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.iq4_nl import LEVELS
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype([("d", "<f2"), ("scales_h", "u1", 2), ("scales_l", "u1", 4), ("qs", "u1", 128)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    scales = fields(b["scales_l"], 1, 4) | fields(b["scales_h"], 1, 2) << 4
    centred = column(b["d"]) * (scales.view(np.int8) - np.int8(32))
    return scaled(LEVELS[fields(b["qs"], 16, 4)], centred)


IQ4_XS = QType("IQ4_XS", 23, 256, BLOCK.itemsize, dequantize)
