"""IQ4_NL: 32 values in 18 bytes (4.5 bits each), w = d * LEVELS[q].

| bytes | field |                                                             |
|-------|-------|-------------------------------------------------------------|
| 0-1   | d     | f16 scale                                                   |
| 2-17  | qs    | 4-bit q: byte j holds value j (low nibble) and j + 16 (high) |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields

BLOCK = np.dtype([("d", "<f2"), ("qs", "u1", 16)])

LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8
)
"""The 16 unevenly spaced levels of IQ4_NL and IQ4_XS, (16,)."""


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return column(b["d"]) * LEVELS[fields(b["qs"], 16, 4)]


IQ4_NL = QType("IQ4_NL", 20, 32, BLOCK.itemsize, dequantize)
