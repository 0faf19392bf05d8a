"""How kernels read each block format: one `build(update, fetch)` a file, one registry line here.

`build` returns `visit(state, p, x, step)`, which walks one packed block of 16 rows at address `p`
and calls `state = update(state, codes, scales, mins, x)` for every 32 values in turn, x going on by
`step` each time. `codes` are 128 lanes of i32: 4 consecutive k of 16 rows per 16 lanes. `scales`
and `mins` are tuples of F32x16: one for all 32 values or two for 16 each. `fetch(p, n)` is called
for all bytes of the block, a few lines between one sum and the next: bursts of prefetches stall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qrt.kernels.blocks import (
    iq4_nl,
    iq4_xs,
    q2_k,
    q3_k,
    q4_0,
    q4_1,
    q4_k,
    q5_0,
    q5_1,
    q5_k,
    q6_k,
    q8_0,
)

VISITS: dict[str, Callable[[Any, Any], Any]] = {
    "Q4_0": q4_0.build,
    "Q4_1": q4_1.build,
    "Q5_0": q5_0.build,
    "Q5_1": q5_1.build,
    "Q8_0": q8_0.build,
    "Q2_K": q2_k.build,
    "Q3_K": q3_k.build,
    "Q4_K": q4_k.build,
    "Q5_K": q5_k.build,
    "Q6_K": q6_k.build,
    "IQ4_NL": iq4_nl.build,
    "IQ4_XS": iq4_xs.build,
}
