"""falcon: Falcon 7B, 40B and 180B."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.source import Source


class Architecture(Decoder):
    """Almazrouei et al. 2023: attention beside the network, under one LayerNorm or one each."""

    norm_kind = "layer"
    parallel = True
    ffn_norm = None
    ffn = "plain"
    act = "gelu_erf"
    required_biases = ("attn_norm", "attn_norm_2", "output_norm")

    def __init__(self, source: Source) -> None:
        if "attn_norm_2.weight" in source.stems:
            self.attn_norm, self.ffn_norm = "attn_norm_2", "attn_norm"
        super().__init__(source)
