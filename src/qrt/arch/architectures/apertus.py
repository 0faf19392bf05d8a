"""apertus: Apertus."""

from __future__ import annotations

import numpy as np

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.graph.ops.xielu import Xielu


class Architecture(Decoder):
    """Apertus Project 2025: norms of query and key heads, no gate but xIELU, learned by layer."""

    rope_factors = "rope_freqs.weight"
    longrope = True
    qk_norm = "head"
    optional_biases = ("attn_output",)

    def feed_forward(self, layer: Layer, x: str) -> str:
        positive, negative, beta, eps = (
            self.source.reals(f"xielu.{key}", self.hp.n_blocks)[layer.number]
            for key in ("alpha_p", "alpha_n", "beta", "eps")
        )
        alphas = softplus(positive), beta + softplus(negative)
        up = self.linear(f"{layer.at}ffn_up", x, layer.ffn_dim)
        h = self.graph.append(Xielu(f"{layer.at}ffn_act", up, *alphas, beta, eps))
        return self.down(layer, h)


def softplus(x: float) -> float:
    """log(1 + e**x)"""
    return float(np.logaddexp(0.0, x))
