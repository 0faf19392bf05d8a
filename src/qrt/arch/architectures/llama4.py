"""llama4: Llama 4, its text side."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, STEP, ExpertRules
from qrt.arch.hparams import Layer, Windows
from qrt.arch.mixture import Mixture
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.rope import RopeSpec
from qrt.graph.ops.temper import Temper

N_EXPERTS_WITHOUT_NORM = 128
"""Maverick, which has so many, has no norm of queries and keys."""


class Architecture(Mixture):
    """Meta 2025: three layers of four see chunks, with rope; the fourth sees all, without.

    Rows are weighted before they meet their experts.
    """

    rope_style = "norm"
    rope_factors = "rope_freqs.weight"
    windows = Windows(period=4, length=8192)
    chunked = True
    rules = ExpertRules(
        keys=(EXPERT_DIM, STEP),
        gating="sigmoid",
        renormalize=False,
        shared="one",
        weigh_first=True,
    )

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return super().rope_spec(layer) if (layer.number + 1) % 4 else None

    def rotated(self, layer: Layer, stem: str, x: str) -> str:
        """Heads that are turned are then normalized without a weight."""
        x = super().rotated(layer, stem, x)
        if self.ropes[layer.number] is None or self.experts is None:
            return x
        if self.experts.n_experts == N_EXPERTS_WITHOUT_NORM:
            return x
        name = f"{layer.at}{stem}_norm"
        return self.graph.append(Norm(name, x, None, layer.head_dim, self.hp.eps))

    def tempered(self, layer: Layer, q: str) -> str:
        if self.ropes[layer.number] is not None:
            return q
        length = self.source.count("attention.temperature_length", 8192)
        scale = self.source.real("attention.temperature_scale", 0.1)
        return self.graph.append(Temper(f"{layer.at}attn_q_tempered", q, length, scale, 1))
