"""F16: IEEE binary16, little-endian, one value a block; rounds to nearest even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return blocks.view("<f2").astype(np.float32)


def quantize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return values.astype("<f2").view(np.uint8)


F16 = QType("F16", 1, 1, 2, dequantize, quantize)
