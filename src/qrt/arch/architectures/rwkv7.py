"""rwkv7: RWKV-7 (Goose)."""

from __future__ import annotations

from qrt.arch.hparams import Layer
from qrt.arch.rwkv import Rwkv
from qrt.graph.ops.bonus import Bonus
from qrt.graph.ops.elementwise import Function
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.layer_scale import LayerScale
from qrt.graph.ops.lerp import Lerp
from qrt.graph.ops.wkv7 import Wkv7

DECAY_RATE = 0.606531
"""exp(-1/2): a state keeps at least exp(-exp(-1/2)) of itself."""


class Architecture(Rwkv):
    """The state forgets what keys stood for, at a rate of each channel; values of the first layer
    go into all others.
    """

    ignored = frozenset(f"time_mix_v{i}.weight" for i in range(3))

    def recurrent(self, layer: Layer, x: str) -> str:
        """Time mixing."""
        at, dim, source = layer.at, self.hp.dim, self.source
        gate_rank = source.count("attention.gate_lora_rank", 0)
        before, n = self.before(layer, "shift_att", x), 6 if gate_rank else 5
        name = f"{at}time_mix_lerp_fused"
        mixed = [self.between(name, x, before, part=i, n=n) for i in range(n)]
        r = self.linear(f"{at}time_mix_receptance", mixed[0], dim)
        rank = source.count("attention.decay_lora_rank")
        decay = self.ranked(layer, "w", mixed[1], rank, "softcap")
        decay = self.applied("sigmoid_decay", decay, DECAY_RATE)
        k = self.linear(f"{at}time_mix_key", mixed[2], dim)
        v = self.value(layer, mixed[3])
        rank = source.count("attention.iclr_lora_rank")
        rate = self.applied("sigmoid", self.ranked(layer, "a", mixed[4], rank))
        name = f"{at}time_mix_k_k"
        removed = self.graph.append(LayerScale(name, k, f"{name}.weight"))
        slowed = self.graph.append(Glu(f"{at}slowed", k, rate, "linear"))
        k = self.between(f"{at}time_mix_k_a", k, slowed)
        heads = (layer.n_heads, layer.head_dim)
        wkv = Wkv7(f"{at}wkv", r, k, v, decay, removed, rate, layer.number, *heads)
        h = self.normed_heads(layer, self.graph.append(wkv))
        weight, gate = f"{at}time_mix_r_k.weight", None
        if gate_rank:
            names = (f"{at}time_mix_g1", f"{at}time_mix_g2")
            gate = self.low_rank(*names, mixed[5], gate_rank, "sigmoid")
        h = self.graph.append(Bonus(f"{at}bonus", h, r, k, v, weight, layer.head_dim, gate))
        return self.linear(f"{at}time_mix_output", h, dim)

    def ranked(
        self, layer: Layer, letter: str, x: str, rank: int, function: Function | None = None
    ) -> str:
        """x through the two narrow matrices that a letter names, and their bias."""
        name = f"{layer.at}time_mix_{letter}"
        return self.low_rank(f"{name}1", f"{name}2", x, rank, function, f"{name}0.weight")

    def value(self, layer: Layer, x: str) -> str:
        """Values, those of the first layer mixed in."""
        v = self.linear(f"{layer.at}time_mix_value", x, self.hp.dim)
        if layer.number == 0:
            return v
        rank = self.source.count("attention.value_residual_mix_lora_rank")
        share = self.applied("sigmoid", self.ranked(layer, "v", x, rank))
        first = "blk.0.time_mix_value"
        return self.graph.append(Lerp(f"{layer.at}mixed_value", v, first, more=share))
