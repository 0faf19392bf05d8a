"""gemma4: Gemma 4, its text side."""

from __future__ import annotations

import math

from qrt.arch.architectures import gemma3
from qrt.arch.decoder import Decoder
from qrt.arch.experts import EXPERT_DIM, ExpertRules
from qrt.arch.hparams import Layer, Windows
from qrt.arch.mixture import Mixture
from qrt.arch.per_layer import PerLayer
from qrt.arch.shared_kv import SharedKV
from qrt.arch.source import Source
from qrt.graph.ops.add import Add
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm


class Architecture(PerLayer, SharedKV, Mixture, gemma3.Architecture):
    """Google 2026: layers that see all have wider heads and turn part of them. Values are
    normalized, and are keys where there is no matrix for them. The last layers attend to keys and
    values of earlier ones. Experts stand beside the dense network, their router reads what both do.
    """

    windows = Windows(period=6, length=None)
    v_norm = True
    ffn_norm = None
    rope_factors = "rope_freqs.weight"
    rules = ExpertRules(keys=(EXPERT_DIM,), optional=True)
    ignored = frozenset({"layer_output_scale.weight"})

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        for layer in self.hp.layers:
            if layer.value_dim != layer.head_dim:
                key = "attention.value_length" + ("" if layer.window is None else "_swa")
                expected = f"the key length, {layer.head_dim}"
                raise source.wrong(source.key(key), expected, layer.value_dim)

    def number(self, key: str, neutral: float = 0.0) -> float:
        return 1.0 if key == "attention.scale" else super().number(key, neutral)

    def block(self, layer: Layer, x: str) -> str:
        """Scaled as a whole."""
        x, name = super().block(layer, x), f"{layer.at}layer_output_scale.weight"
        if name not in self.source.tensors:
            return x
        scale = float(self.source.vector(name, 1)[0])
        if not math.isfinite(scale):
            raise self.source.wrong(f"tensor {name!r}", "a finite number", scale)
        return self.scaled(x, scale)

    def qkv(self, layer: Layer, x: str) -> tuple[str, str, str]:
        at = layer.at
        if {f"{at}attn_v.weight", f"{at}attn_qkv.weight"} & self.source.tensors.keys():
            return super().qkv(layer, x)
        q = self.linear(f"{at}attn_q", x, layer.n_heads * layer.head_dim)
        k = self.linear(f"{at}attn_k", x, layer.n_kv_heads * layer.head_dim)
        return q, k, k

    def feed_forward(self, layer: Layer, x: str) -> str:
        """The dense network, and in layers that have a router the experts beside it."""
        at, graph, dim = layer.at, self.graph, self.hp.dim
        h = Decoder.feed_forward(self, layer, self.norm(f"{at}ffn_norm", x))
        if self.experts is None or f"{at}ffn_gate_inp.weight" not in self.source.tensors:
            return h
        h = self.norm(f"{at}post_ffw_norm_1", h)
        router = Norm(f"{at}ffn_gate_inp_norm", x, f"{at}ffn_gate_inp.scale", dim, self.hp.eps)
        logits = self.scaled(graph.append(router), dim**-0.5)
        name, n_experts = f"{at}ffn_gate_inp", self.experts.n_experts
        logits = graph.append(Linear(name, logits, f"{name}.weight", n_experts))
        routed = self.routed(layer, self.norm(f"{at}pre_ffw_norm_2", x), logits)
        return graph.append(Add(f"{at}ffn_moe", h, self.norm(f"{at}post_ffw_norm_2", routed)))
