"""TQ1_0: 256 values in 54 bytes (1.6875 bits each), w = d * (q - 1) with q = 0, 1 or 2.

| bytes | field |                                                                            |
|-------|-------|----------------------------------------------------------------------------|
| 0-31  | qs    | 5 q a byte: byte j holds values 32*n + j, n = 0-4                          |
| 32-47 | qs    | 5 q a byte: byte 32 + j holds values 160 + 16*n + j, n = 0-4               |
| 48-51 | qh    | 4 q a byte: byte j holds values 240 + 4*n + j, n = 0-3                     |
| 52-53 | d     | f16 scale                                                                  |

A byte is a fraction of 256 in base 3, rounded up: q n is its digit n, floor(3**(n + 1) * byte /
256) mod 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column

BLOCK = np.dtype([("qs", "u1", 32), ("rest", "u1", 16), ("qh", "u1", 4), ("d", "<f2")])
POWERS = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]


def digits(packed: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """The first n digits of all bytes, digit by digit: (n_blocks, run) -> (n_blocks, n * run)."""
    rests = packed[:, None, :] * POWERS[:n]  # modulo 256
    return (rests.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(len(packed), -1)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    q = np.concatenate([digits(b["qs"], 5), digits(b["rest"], 5), digits(b["qh"], 4)], axis=1)
    return column(b["d"]) * (q.view(np.int8) - np.int8(1))


TQ1_0 = QType("TQ1_0", 34, 256, BLOCK.itemsize, dequantize)
