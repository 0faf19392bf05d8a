"""stablelm: StableLM, StableLM 2, Stable Code."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.source import Source


class Architecture(Decoder):
    """Bellagente et al. 2024: LayerNorm, rope on a part of each head; at 12B norms of query and key
    heads, and the network beside attention under its norm.
    """

    norm_kind = "layer"
    qk_norm = "each"
    optional_norms = ("attn_q_norm", "attn_k_norm")
    required_biases = ("attn_norm", "ffn_norm", "output_norm")

    def __init__(self, source: Source) -> None:
        if "ffn_norm.weight" not in source.stems:
            self.parallel, self.ffn_norm = True, None
        super().__init__(source)
