"""Q5_1: 32 values in 24 bytes (6 bits each), w = d * q + m.

| bytes | field |                                                                      |
|-------|-------|----------------------------------------------------------------------|
| 0-1   | d     | f16 scale                                                            |
| 2-3   | m     | f16 minimum                                                          |
| 4-7   | qh    | bit 4 of q: value j in bit j % 8 of byte j / 8                       |
| 8-23  | qs    | bits 0-3 of q: byte j holds value j (low nibble) and j + 16 (high)   |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields

BLOCK = np.dtype([("d", "<f2"), ("m", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    q = fields(b["qs"], 16, 4) | fields(b["qh"], 1, 1) << 4
    return column(b["d"]) * q + column(b["m"])


Q5_1 = QType("Q5_1", 7, 32, BLOCK.itemsize, dequantize)
