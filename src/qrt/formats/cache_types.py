"""The types that stored keys and values may have, each by the block format that it is."""

from __future__ import annotations

from qrt.formats.qtype import QType
from qrt.formats.quants.f16 import F16
from qrt.formats.quants.f32 import F32
from qrt.formats.quants.q4_0 import Q4_0
from qrt.formats.quants.q8_0 import Q8_0

CACHE_TYPES: dict[str, QType] = {"f16": F16, "f32": F32, "q8_0": Q8_0, "q4_0": Q4_0}

CACHE_BYTES = {name: qtype.n_bytes((32,)) for name, qtype in CACHE_TYPES.items()}
"""Bytes of 32 values; rows are padded to whole runs of 32."""
