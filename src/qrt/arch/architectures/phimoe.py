"""phimoe: Phi-3.5-MoE."""

from __future__ import annotations

from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Abdin et al. 2024: norms with biases, LongRoPE."""

    longrope = True
    required_biases = ("attn_norm", "attn_output", "ffn_norm", "output_norm", "output")
