"""phimoe: Phi-3.5-MoE."""

from __future__ import annotations

from qrt.arch.experts import JITTER, ExpertRules
from qrt.arch.mixture import Mixture
from qrt.arch.source import Source


class Architecture(Mixture):
    """Abdin et al. 2024: norms with biases, LongRoPE. Files of llama.cpp's converter have root mean
    square norms and Mixtral's router; those with two more keys have LayerNorm and sparsemixer.
    """

    longrope = True
    rules = ExpertRules(keys=(JITTER,))
    required_biases = ("attn_norm", "attn_output", "ffn_norm", "output_norm", "output")

    def __init__(self, source: Source) -> None:
        self.norm_kind = "layer" if source.has("attention.layer_norm_epsilon") else "rms"
        super().__init__(source)
