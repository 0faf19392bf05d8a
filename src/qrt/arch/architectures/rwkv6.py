"""rwkv6: RWKV-6 (Finch)."""

from __future__ import annotations

from typing import ClassVar

from qrt.arch.hparams import Layer
from qrt.arch.rwkv import Rwkv
from qrt.graph.ops.gate import Gate
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.head_linear import HeadLinear
from qrt.graph.ops.wkv6 import Wkv6

PARTS = "wkvrg"
"""What each blend is for: decay, keys, values, receptance, gate."""


class Architecture(Rwkv):
    """Mixes and decay depend on the row; a gate behind the heads' norm, and one of channels."""

    has_first: ClassVar[bool] = True
    """Whether there is a weight by which a row's own key counts."""

    def block(self, layer: Layer, x: str) -> str:
        """One layer; after some of them the residual stream is halved, as their weights are."""
        x = super().block(layer, x)
        period = self.source.count("rescale_every_n_layers", 0)
        return self.scaled(x, 0.5) if period and (layer.number + 1) % period == 0 else x

    def recurrent(self, layer: Layer, x: str) -> str:
        """Time mixing."""
        at, dim, source = layer.at, self.hp.dim, self.source
        w, k, v, r, g = self.blended(layer, x)
        decay = self.low_rank(
            f"{at}time_mix_decay_w1",
            f"{at}time_mix_decay_w2",
            w,
            source.count("time_decay_extra_dim"),
            "softcap",
            f"{at}time_mix_decay.weight",
        )
        n_kv = layer.n_kv_heads * layer.head_dim
        h = self.graph.append(
            Wkv6(
                f"{at}wkv",
                self.linear(f"{at}time_mix_receptance", r, dim),
                self.linear(f"{at}time_mix_key", k, n_kv),
                self.linear(f"{at}time_mix_value", v, n_kv),
                self.applied("decay", decay),
                f"{at}time_mix_first.weight" if self.has_first else None,
                layer.number,
                layer.n_heads,
                layer.n_kv_heads,
                layer.head_dim,
            )
        )
        gate = self.linear(f"{at}time_mix_gate", g, dim)
        return self.linear(f"{at}time_mix_output", self.gated(layer, h, gate), dim)

    def blended(self, layer: Layer, x: str) -> list[str]:
        """x and the row before, blended once for each of PARTS."""
        at, n = layer.at, len(PARTS)
        before, rank = self.before(layer, "shift_att", x), self.source.count("time_mix_extra_dim")
        h = self.between(f"{at}time_mix_lerp_x", x, before)
        h = self.applied("softcap", self.linear(f"{at}time_mix_w1", h, n * rank), 1.0)
        name = f"{at}time_mix_w2"
        more = self.graph.append(HeadLinear(name, h, f"{name}.weight", n, self.hp.dim))
        name = f"{at}time_mix_lerp_fused"
        if f"{name}.weight" in self.source.tensors:
            return [self.between(name, x, before, more, i, n) for i in range(n)]
        names = (f"{at}time_mix_lerp_{letter}" for letter in PARTS)
        return [self.between(name, x, before, more, i) for i, name in enumerate(names)]

    def gated(self, layer: Layer, h: str, gate: str) -> str:
        """The sums of the heads behind their norm and gate."""
        return self.graph.append(Glu(f"{layer.at}gated", gate, self.normed_heads(layer, h)))

    def feed_forward(self, layer: Layer, x: str) -> str:
        """Channel mixing, and its gate."""
        h = super().feed_forward(layer, x)
        before = f"{layer.at}shift_ffn"
        r = self.between(f"{layer.at}channel_mix_lerp_r", x, before)
        r = self.linear(f"{layer.at}channel_mix_receptance", r, self.hp.dim)
        return self.graph.append(Gate(f"{layer.at}channel_mix", h, r))
