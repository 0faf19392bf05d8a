"""neo-bert: NeoBERT."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Le Breton et al. 2025: norms before, SwiGLU in one matrix; rows see those that follow."""

    sees_ahead = True
    rope_style = "norm"
    ffn = "fused"

    def final(self, x: str) -> str:
        return self.norm("enc.output_norm", x)
