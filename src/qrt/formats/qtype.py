"""What a tensor type is: the size of its blocks and how they turn into float32 and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Dequantize = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Quantize = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class QType:
    """A GGML tensor type: runs of `block_size` values stored in `block_bytes` bytes.

    Plain types (F32, I32 ...) are blocks of one value. Rows are whole numbers of blocks.
    """

    name: str
    id: int
    block_size: int
    block_bytes: int
    dequantize: Dequantize
    """uint8 (n_blocks, block_bytes), C-contiguous -> float32 (n_blocks, block_size)"""
    quantize: Quantize | None = None
    """float32 (n_blocks, block_size), C-contiguous -> uint8 (n_blocks, block_bytes)"""

    def n_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor whose last dimension is a multiple of `block_size`."""
        return math.prod(shape) // self.block_size * self.block_bytes
