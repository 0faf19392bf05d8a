"""deepseek2: DeepSeek V2 to V3.1 and R1, Kimi K2, GLM-4.7-Flash, GigaChat 3."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, GROUPS, NORM, SCALE, ExpertRules
from qrt.arch.hparams import Layer
from qrt.arch.latent import first_attending, read_latent, read_mscale
from qrt.arch.mixture import Mixture
from qrt.arch.source import Source
from qrt.graph.ops.head_linear import HeadLinear
from qrt.graph.ops.join import Join
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.slice import Slice
from qrt.graph.ops.temper import Temper

GLM_N_VOCAB, GLM_N_BLOCKS = 154880, (47, 48)
"""Of GLM-4.7-Flash: its first files do not say that it gates by sigmoid."""


class Architecture(Mixture):
    """DeepSeek-AI 2024: latent attention and many small experts.

    All heads share one compressed vector a position. The matrices that take keys and values out of
    it are applied to queries and results instead, so that the cache holds that vector alone. Old
    files have them as one, `attn_kv_b`; there keys and values are taken out.
    """

    rope_style = "norm"
    rules = ExpertRules(
        keys=(EXPERT_DIM, GATING, NORM, SCALE, GROUPS, FIRST), renormalize=False, shared="count"
    )

    mscale_cancels: ClassVar[bool] = True
    """Whether the multiplier of YaRN's attention factor leaves rope as it is."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        layer = self.latent_layer()
        spec = self.ropes[layer.number]
        assert spec is not None
        self.latent = read_latent(source, layer, spec)
        is_glm = self.hp.n_vocab == GLM_N_VOCAB and source.count("block_count") in GLM_N_BLOCKS
        if is_glm and self.experts is not None and source.count(GATING, 0) == 0:
            self.experts = replace(self.experts, gating="sigmoid")

    def latent_layer(self) -> Layer:
        """A layer that has latent attention; the others are as wide."""
        return first_attending(self.source, self.hp.layers)

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        spec = super().rope_spec(layer)
        return None if spec is None else read_mscale(self.source, spec, self.mscale_cancels)

    def attention(self, layer: Layer, x: str) -> str:
        """Queries of all heads against one compressed vector a position."""
        graph, at, n_heads, mla = self.graph, layer.at, layer.n_heads, self.latent
        q_nope, q_rope = self.halves(f"{at}attn_q", self.queries(layer, x), mla.nope, mla.rope)
        kv = self.linear(f"{at}attn_kv_a_mqa", x, mla.rank + mla.rope)
        latent, k_rope = self.halves(f"{at}attn_kv_a", kv, mla.rank, mla.rope)
        latent = self.norm(f"{at}attn_kv_a_norm", latent)
        q_rope, k_rope = self.turned(layer, q_rope), self.turned(layer, k_rope)
        if mla.absorbed:
            q_nope = self.by_head(f"{at}attn_k_b", q_nope, n_heads, mla.rank)
            k_nope, v, width, n_kv_heads = latent, None, mla.rank, 1
        else:
            kv = self.linear(f"{at}attn_kv_b", latent, n_heads * (mla.nope + mla.v_dim))
            k_nope, v = self.halves(f"{at}attn_kv", kv, mla.nope, mla.v_dim)
            width, n_kv_heads = mla.nope, n_heads
        h = graph.attention(
            f"{at}attn",
            self.tempered(
                layer, graph.append(Join(f"{at}attn_q_joined", q_nope, q_rope, width, mla.rope))
            ),
            graph.append(Join(f"{at}attn_k_joined", k_nope, k_rope, width, mla.rope)),
            v,
            layer=layer.number,
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            scale=mla.scale,
            v_width=mla.rank if mla.absorbed else mla.v_dim,
        )
        if mla.absorbed:
            h = self.by_head(f"{at}attn_v_b", h, n_heads, mla.v_dim)
        return self.linear(f"{at}attn_output", h, self.hp.dim)

    def queries(self, layer: Layer, x: str) -> str:
        """(n_heads * k_dim), made at once or by way of a smaller vector."""
        at, mla, stem = layer.at, self.latent, "attn_q"
        if mla.q_rank:
            x = self.norm(f"{at}attn_q_a_norm", self.linear(f"{at}attn_q_a", x, mla.q_rank))
            stem = "attn_q_b"
        return self.linear(f"{at}{stem}", x, layer.n_heads * mla.k_dim)

    def halves(self, name: str, x: str, first: int, second: int) -> tuple[str, str]:
        """The first and the second part of each head of x."""
        group = first + second
        a = self.graph.append(Slice(f"{name}_nope", x, group, 0, first))
        return a, self.graph.append(Slice(f"{name}_rope", x, group, first, second))

    def turned(self, layer: Layer, x: str) -> str:
        """Each head of x turned to its position."""
        spec = self.ropes[layer.number]
        assert spec is not None
        return self.graph.append(Rope(f"{x}_turned", x, spec.dim, spec))

    def by_head(self, name: str, x: str, n_heads: int, width: int) -> str:
        """A linear layer of its own for each head."""
        return self.graph.append(HeadLinear(name, x, f"{name}.weight", n_heads, width))

    def tempered(self, layer: Layer, q: str) -> str:
        """Queries that grow behind a length, in files that have a scale for it."""
        scale = self.source.real("attention.temperature_scale", 0.0)
        if scale == 0.0:
            return q
        length = self.source.count("attention.temperature_length")
        return self.graph.append(Temper(f"{layer.at}attn_q_tempered", q, length, scale))
