"""Where each type of KV cache is written and read."""

from __future__ import annotations

from qrt.kernels import kv_blocks, kv_float

CACHES = {"f16": kv_float, "f32": kv_float, "q8_0": kv_blocks, "q4_0": kv_blocks}
