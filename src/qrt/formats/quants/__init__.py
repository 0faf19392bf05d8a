"""The registry of tensor types that qrt reads."""

from __future__ import annotations

from qrt.formats.qtype import QType
from qrt.formats.quants.bf16 import BF16
from qrt.formats.quants.f16 import F16
from qrt.formats.quants.f32 import F32
from qrt.formats.quants.iq1_m import IQ1_M
from qrt.formats.quants.iq1_s import IQ1_S
from qrt.formats.quants.iq2_s import IQ2_S
from qrt.formats.quants.iq2_xs import IQ2_XS
from qrt.formats.quants.iq2_xxs import IQ2_XXS
from qrt.formats.quants.iq3_s import IQ3_S
from qrt.formats.quants.iq3_xxs import IQ3_XXS
from qrt.formats.quants.iq4_nl import IQ4_NL
from qrt.formats.quants.iq4_xs import IQ4_XS
from qrt.formats.quants.mxfp4 import MXFP4
from qrt.formats.quants.nvfp4 import NVFP4
from qrt.formats.quants.q1_0 import Q1_0
from qrt.formats.quants.q2_0 import Q2_0
from qrt.formats.quants.q2_k import Q2_K
from qrt.formats.quants.q3_k import Q3_K
from qrt.formats.quants.q4_0 import Q4_0
from qrt.formats.quants.q4_1 import Q4_1
from qrt.formats.quants.q4_k import Q4_K
from qrt.formats.quants.q5_0 import Q5_0
from qrt.formats.quants.q5_1 import Q5_1
from qrt.formats.quants.q5_k import Q5_K
from qrt.formats.quants.q6_k import Q6_K
from qrt.formats.quants.q8_0 import Q8_0
from qrt.formats.quants.raw import F64, I8, I16, I32, I64
from qrt.formats.quants.tq1_0 import TQ1_0
from qrt.formats.quants.tq2_0 import TQ2_0

WEIGHT_TYPES: tuple[QType, ...] = (
    *(F32, F16, BF16),
    *(Q4_0, Q4_1, Q5_0, Q5_1, Q8_0),
    *(Q2_K, Q3_K, Q4_K, Q5_K, Q6_K),
    *(IQ4_NL, IQ4_XS, MXFP4, NVFP4),
    *(IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S),
    *(TQ2_0, TQ1_0, Q2_0, Q1_0),
)
"""The types that a weight may have."""

RAW_TYPES: tuple[QType, ...] = (I8, I16, I32, I64, F64)
"""Plain numbers: readable, never weights."""

QTYPES: dict[str, QType] = {t.name: t for t in WEIGHT_TYPES + RAW_TYPES}
QTYPE_BY_ID: dict[int, QType] = {t.id: t for t in WEIGHT_TYPES + RAW_TYPES}
