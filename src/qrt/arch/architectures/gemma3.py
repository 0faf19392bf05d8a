"""gemma3: Gemma 3 and MedGemma, their text side."""

from __future__ import annotations

from qrt.arch.architectures import gemma2
from qrt.arch.hparams import Windows


class Architecture(gemma2.Architecture):
    """Gemma Team 2025: norms of queries and keys; layers with a window have a rotary base of
    their own and no scaling.
    """

    qk_norm = "head"
    windows = Windows(period=6)
    caps = {"final_logit_softcapping": 0.0}  # noqa: RUF012
    local_rope_base = 10000.0
    local_rope_scaled = False
    n_layers_27b = 62
