"""arctic: Snowflake Arctic."""

from __future__ import annotations

from qrt.arch.hparams import Layer
from qrt.arch.mixture import Mixture
from qrt.graph.ops.glu import Glu


class Architecture(Mixture):
    """Snowflake 2024: a dense network in every layer, and experts beside attention and network."""

    rope_style = "norm"

    def block(self, layer: Layer, x: str) -> str:
        at = layer.at
        attended = self.attention(layer, self.norm(f"{at}attn_norm", x))
        attended = self.add(f"{at}attn_add", x, attended)
        dense = self.dense(layer, self.norm(f"{at}ffn_norm", attended))
        dense = self.add(f"{at}ffn_add", attended, dense)
        chosen = self.feed_forward(layer, self.norm(f"{at}ffn_norm_exps", x))
        return self.add(f"{at}ffn_moe_add", dense, chosen)

    def dense(self, layer: Layer, x: str) -> str:
        """A network as wide as the residual stream."""
        at, dim = layer.at, self.hp.dim
        gate = self.linear(f"{at}ffn_gate", x, dim)
        up = self.linear(f"{at}ffn_up", x, dim)
        h = self.graph.append(Glu(f"{at}ffn_glu", gate, up))
        return self.linear(f"{at}ffn_down", h, dim)
