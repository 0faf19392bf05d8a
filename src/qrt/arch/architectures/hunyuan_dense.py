"""hunyuan-dense: Hunyuan, dense."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer


class Architecture(Decoder):
    """Tencent 2025: norms of queries and keys behind rope, whose base may be stretched. Files may
    count an expert, which is the feed-forward network itself.
    """

    qk_norm = "head"
    qk_norm_after_rope = True
    has_experts = True

    def rope_base(self, layer: Layer) -> float:
        alpha, dim = self.source.real("rope.scaling.alpha", 0.0), layer.head_dim
        base = super().rope_base(layer)
        return base * alpha ** (dim / max(1, dim - 2)) if alpha else base
