"""cohere2moe: Command with experts."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, NORM, SCALE, ExpertRules
from qrt.arch.hparams import Layer, Windows
from qrt.arch.mixture import Mixture
from qrt.arch.source import Source
from qrt.graph.ops.rope import RopeSpec


class Architecture(Mixture):
    """Cohere 2026: Command's blocks, the mean of chosen and shared experts. Layers with a window
    have rope, and so have the dense ones in front.
    """

    ffn_norm = None
    parallel = True
    rope_style = "norm"
    windows = Windows(period=4, length=None, global_first=True)
    rules = ExpertRules(
        keys=(EXPERT_DIM, GATING, NORM, SCALE, FIRST),
        gating="sigmoid",
        renormalize=False,
        shared="count",
    )

    def __init__(self, source: Source) -> None:
        eps = source.real("attention.layer_norm_rms_epsilon", 0.0, zero=0.0)
        self.norm_kind = "rms" if eps else "layer"
        super().__init__(source)

    def numbers(self) -> Mapping[str, float | None]:
        return {"logit_scale": None}

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        is_dense = layer.number < self.source.count(FIRST)
        return super().rope_spec(layer) if layer.window or is_dense else None

    def together(self, layer: Layer, chosen: str, shared: str) -> str:
        return self.scaled(super().together(layer, chosen, shared), 0.5)
