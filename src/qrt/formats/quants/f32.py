"""F32: IEEE binary32, little-endian, one value a block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return blocks.view("<f4")


def quantize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return values.view(np.uint8)


F32 = QType("F32", 0, 1, 4, dequantize, quantize)
