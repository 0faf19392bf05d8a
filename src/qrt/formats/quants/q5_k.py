"""Q5_K: 256 values in 176 bytes (5.5 bits each), 8 sub-blocks of 32.

w = (d * scale) * q - (dmin * min) with the 6-bit scale and min of the value's sub-block.

| bytes  | field  |                                                                               |
|--------|--------|-------------------------------------------------------------------------------|
| 0-1    | d      | f16 scale of the scales                                                       |
| 2-3    | dmin   | f16 scale of the mins                                                         |
| 4-15   | scales | 8 scales and 8 mins, packed as unpack.scales_and_mins says                    |
| 16-47  | qh     | bit 4 of q: byte j holds value 32*k + j in bit k, k = 0-7                     |
| 48-175 | qs     | bits 0-3: byte 32*p + j holds values 64*p + j (low nibble), 64*p + 32 + j     |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled, scales_and_mins

BLOCK = np.dtype(
    [("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)]
)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    scales, mins = scales_and_mins(b["scales"])
    q = fields(b["qs"], 32, 4) | fields(b["qh"], 32, 1) << 4
    return scaled(q, column(b["d"]) * scales, column(b["dmin"]) * mins)


Q5_K = QType("Q5_K", 13, 256, BLOCK.itemsize, dequantize)
