"""gptneox: GPT-NeoX, Pythia, Dolly 2, RedPajama."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.source import Source


class Architecture(Decoder):
    """Black et al. 2022: LayerNorm, biases, a network beside attention or behind it."""

    norm_kind = "layer"
    ffn = "plain"
    act = "gelu_erf"
    required_biases = (
        *("attn_norm", "ffn_norm", "output_norm"),
        *("attn_qkv", "attn_output", "ffn_up", "ffn_down"),
    )

    def __init__(self, source: Source) -> None:
        self.parallel = source.flag("use_parallel_residual")
        super().__init__(source)
