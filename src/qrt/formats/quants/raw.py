"""I8, I16, I32, I64, F64: plain little-endian numbers that tools put beside the weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType


def _plain(name: str, type_id: int, dtype: str) -> QType:
    def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
        return blocks.view(dtype).astype(np.float32)

    return QType(name, type_id, 1, np.dtype(dtype).itemsize, dequantize)


I8 = _plain("I8", 24, "<i1")
I16 = _plain("I16", 25, "<i2")
I32 = _plain("I32", 26, "<i4")
I64 = _plain("I64", 27, "<i8")
F64 = _plain("F64", 28, "<f8")
