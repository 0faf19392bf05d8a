"""Q4_1: 32 values in 20 bytes (5 bits each), w = d * q + m.

| bytes | field |                                                             |
|-------|-------|-------------------------------------------------------------|
| 0-1   | d     | f16 scale                                                   |
| 2-3   | m     | f16 minimum                                                 |
| 4-19  | qs    | 4-bit q: byte j holds value j (low nibble) and j + 16 (high) |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields

BLOCK = np.dtype([("d", "<f2"), ("m", "<f2"), ("qs", "u1", 16)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return column(b["d"]) * fields(b["qs"], 16, 4) + column(b["m"])


Q4_1 = QType("Q4_1", 3, 32, BLOCK.itemsize, dequantize)
