"""phi3: Phi-3, Phi-3.5 and Phi-4, large and mini."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Windows


class Architecture(Decoder):
    """Abdin et al. 2024: matrices joined, LongRoPE for long contexts.

    All layers of some have a window, which llama.cpp leaves out.
    """

    windows = Windows(period=0)
    longrope = True
    ffn = "fused"
