"""bitnet: BitNet b1.58."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source


class Architecture(Decoder):
    """Ma et al. 2024: ternary matrices, each with a scale, and norms before those that project to
    the residual stream.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if source.choice("hidden_activation", ("silu", "relu2"), "silu") == "relu2":
            self.act = "relu2"

    def output(self, layer: Layer, h: str) -> str:
        return super().output(layer, self.norm(f"{layer.at}attn_sub_norm", h))

    def down(self, layer: Layer, h: str) -> str:
        return super().down(layer, self.norm(f"{layer.at}ffn_sub_norm", h))
