"""BF16: the upper half of a binary32, little-endian, one value a block; rounds to nearest even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


def quantize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    bits = values.view(np.uint32)
    upper = bits >> 16
    # Half an ulp, one less where the kept half is even: ties go to even. Never carries out of
    # 32 bits, except for NaNs, which are set apart and stay NaN by their quiet bit.
    rounded = (bits + (0x7FFF + (upper & 1))) >> 16
    return np.where(np.isnan(values), upper | 0x40, rounded).astype("<u2").view(np.uint8)


BF16 = QType("BF16", 30, 1, 2, dequantize, quantize)
