"""exaone-moe: K-EXAONE."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, GROUPS, NORM, SCALE, SHARED_DIM, ExpertRules
from qrt.arch.hparams import Layer, Windows
from qrt.arch.mixture import Mixture
from qrt.graph.ops.rope import RopeSpec


class Architecture(Mixture):
    """LG AI Research 2025: three layers of four have a window and rope, the fourth has neither."""

    rope_factors = "rope_freqs.weight"
    qk_norm = "head"
    windows = Windows(period=4, length=None)
    rules = ExpertRules(
        keys=(EXPERT_DIM, SHARED_DIM, GATING, NORM, SCALE, GROUPS, FIRST),
        gating=None,
        renormalize=False,
        shared="one",
    )

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return None if layer.window is None else super().rope_spec(layer)
