"""afmoe: Trinity."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, NORM, SCALE, ExpertRules
from qrt.arch.hparams import Layer, Windows
from qrt.arch.mixture import Mixture
from qrt.graph.ops.gate import Gate
from qrt.graph.ops.rope import RopeSpec


class Architecture(Mixture):
    """Arcee AI 2025: norms before and after, a gate on what attention gives, scaled embeddings;
    every fourth layer goes without rope.
    """

    attn_post_norm = "post_attention_norm"
    ffn_post_norm = "post_ffw_norm"
    qk_norm = "head"
    windows = Windows(period=4)
    rules = ExpertRules(
        keys=(EXPERT_DIM, GATING, NORM, SCALE, FIRST),
        gating="sigmoid",
        renormalize=False,
        shared="count",
        needs_bias=True,
    )

    def numbers(self) -> Mapping[str, float | None]:
        return {"embedding_scale": self.hp.dim**0.5}

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return super().rope_spec(layer) if (layer.number + 1) % 4 else None

    def attention(self, layer: Layer, x: str) -> str:
        """The gate is made of what queries are made of."""
        width = layer.n_heads * layer.value_dim
        self.gate = self.linear(f"{layer.at}attn_gate", x, width)
        return super().attention(layer, x)

    def output(self, layer: Layer, h: str) -> str:
        gated = self.graph.append(Gate(f"{layer.at}attn_gated", h, self.gate))
        return super().output(layer, gated)
