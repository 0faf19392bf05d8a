"""mpt: MPT, SEA-LION, Replit Code."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder
from qrt.arch.source import Source


class Architecture(Decoder):
    """MosaicML 2023: LayerNorm, ALiBi or learned positions, biases or none."""

    rope_style = None
    norm_kind = "layer"
    ffn = "plain"
    act = "gelu_erf"
    optional_biases = (
        *("attn_norm", "ffn_norm", "output_norm"),
        *("attn_output", "ffn_up", "ffn_down"),
    )

    def __init__(self, source: Source) -> None:
        self.learned_positions = "position_embd.weight" in source.tensors
        super().__init__(source)

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.clamp_kqv": 0.0, "attention.max_alibi_bias": 0.0}
