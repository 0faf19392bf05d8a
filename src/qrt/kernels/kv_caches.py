"""Where each type of KV cache is written and read: floats, or blocks of 32 values."""

from __future__ import annotations

from qrt.formats.cache_types import CACHE_TYPES
from qrt.kernels import kv_blocks, kv_float

CACHES = {
    name: kv_float if qtype.block_size == 1 else kv_blocks for name, qtype in CACHE_TYPES.items()
}
