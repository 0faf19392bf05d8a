"""phi3: Phi-3, Phi-3.5 and Phi-4, large and mini."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Abdin et al. 2024: matrices joined, LongRoPE for long contexts."""

    longrope = True
    ffn = "fused"
