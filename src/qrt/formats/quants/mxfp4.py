"""MXFP4: 32 values in 17 bytes (4.25 bits each), w = d * LEVELS[q].

| bytes | field |                                                             |
|-------|-------|-------------------------------------------------------------|
| 0     | e     | E8M0: d = 2**(e - 128), half the scale of the standard      |
| 1-16  | qs    | 4-bit q: byte j holds value j (low nibble) and j + 16 (high) |

OCP Microscaling Formats v1.0; the E2M1 numbers are doubled, so that they are whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, fields

BLOCK = np.dtype([("e", "u1"), ("qs", "u1", 16)])

LEVELS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
"""Twice the 16 numbers of E2M1, (16,)."""

SCALES = np.ldexp(1.0, np.arange(-128, 128)).astype(np.float32)
"""Half the 256 numbers of E8M0, (256,)."""


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    d: NDArray[np.float32] = SCALES[b["e"]]
    return d[:, None] * LEVELS[fields(b["qs"], 16, 4)]


MXFP4 = QType("MXFP4", 39, 32, BLOCK.itemsize, dequantize)
