"""Q6_K: 256 values in 210 bytes (6.5625 bits each), 16 sub-blocks of 16.

w = (d * scale) * (q - 32) with the int8 scale of the value's sub-block.

| bytes   | field  |                                                                               |
|---------|--------|-------------------------------------------------------------------------------|
| 0-127   | ql     | bits 0-3: byte 64*h + j holds values 128*h + j (low nibble), 128*h + 64 + j   |
| 128-191 | qh     | bits 4-5: byte 32*h + j holds values 128*h + 32*k + j in bits 2k, k = 0-3     |
| 192-207 | scales | int8, one a sub-block                                                         |
| 208-209 | d      | f16 scale of the scales                                                       |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype([("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), ("d", "<f2")])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    q = fields(b["ql"], 64, 4) | fields(b["qh"], 32, 2) << 4
    return scaled(q.view(np.int8) - np.int8(32), column(b["d"]) * b["scales"])


Q6_K = QType("Q6_K", 14, 256, BLOCK.itemsize, dequantize)
