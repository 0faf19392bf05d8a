"""gemma3n: Gemma 3n, its text side."""

from __future__ import annotations

import math

from qrt.arch.altup import AltUp
from qrt.arch.architectures import gemma3
from qrt.arch.hparams import Layer, Windows
from qrt.arch.shared_kv import SharedKV
from qrt.arch.source import Source
from qrt.graph.ops.add import Add
from qrt.graph.ops.gaussian_topk import GaussianTopK

LAUREL_RANK = 64


class Architecture(AltUp, SharedKV, gemma3.Architecture):
    """Google 2025: several residual streams, of which a layer computes one, and embeddings of each
    layer's own. A low-rank branch stands beside attention (LAuReL, Menghani et al. 2024), values
    are normalized, the last layers attend to keys and values of earlier ones, and the networks of
    some layers keep only large activations.
    """

    windows = Windows(period=5, length=None)
    caps = {"final_logit_softcapping": 30.0}  # noqa: RUF012
    v_norm = True

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.sparsity = source.reals("activation_sparsity_scale", len(self.hp.layers))

    def number(self, key: str, neutral: float = 0.0) -> float:
        return 1.0 if key == "attention.scale" else super().number(key, neutral)

    def attended(self, layer: Layer, x: str, h: str) -> str:
        """With the low-rank branch beside attention."""
        x, at, graph = super().attended(layer, x, h), layer.at, self.graph
        left = self.source.tensors.get(f"{at}laurel_l.weight")
        rank = left.shape[0] if left is not None and len(left.shape) == 2 else LAUREL_RANK
        low = self.linear(f"{at}laurel_r", self.linear(f"{at}laurel_l", h, rank), self.hp.dim)
        low = graph.append(Add(f"{at}laurel", h, self.norm(f"{at}laurel_post_norm", low)))
        return self.scaled(graph.append(Add(f"{at}laurel_add", x, low)), 0.5**0.5)

    def ffn_gate(self, layer: Layer, x: str) -> str:
        gate, n_deviations = super().ffn_gate(layer, x), self.sparsity[layer.number]
        if n_deviations == -math.inf:
            return gate
        return self.graph.append(GaussianTopK(f"{layer.at}ffn_gate_topk", gate, n_deviations))
