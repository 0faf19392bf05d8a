"""kimi-linear: Kimi Linear."""

from __future__ import annotations

from dataclasses import replace

from qrt.arch.architectures import deepseek2
from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, SCALE, ExpertRules
from qrt.arch.hparams import Kind, Layer
from qrt.arch.source import Source
from qrt.graph.op import Part
from qrt.graph.ops.delta import Delta
from qrt.graph.ops.gate import Gate


class Architecture(deepseek2.Architecture):
    """Kimi Team 2025: the delta rule with a decay for each channel, latent attention without rope
    in the layers that have heads of keys.
    """

    attention_is = "somewhere"
    rules = ExpertRules(
        keys=(EXPERT_DIM, GATING, SCALE, FIRST), gating=None, shared="count", needs_bias=True
    )

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.k_dim, self.n_taps = source.count("kda.head_dim"), source.count("ssm.conv_kernel")

    def kind_of(self, layer: Layer) -> Kind:
        return "attention" if layer.n_kv_heads else "recurrent"

    def latent_layer(self) -> Layer:
        """Files do not say how wide the values are that it caches."""
        layer = super().latent_layer()
        return replace(layer, value_dim=self.source.count("attention.kv_lora_rank"))

    def turned(self, layer: Layer, x: str) -> str:  # noqa: ARG002
        """Positions do not turn it."""
        return x

    def recurrent(self, layer: Layer, x: str) -> str:
        graph, at, dim, n_heads = self.graph, layer.at, self.k_dim, layer.n_heads
        if n_heads == 0:
            key = self.source.key("attention.head_count")
            raise self.source.wrong(key, f"heads in layer {layer.number}", 0)
        n = n_heads * dim
        made = self.qkv(replace(layer, head_dim=dim, value_dim=dim, n_kv_heads=n_heads), x)
        q, k, v = (self.convolved(layer, name, of) for name, of in zip("qkv", made, strict=True))
        decay = self.linear(f"{at}ssm_f_b", self.linear(f"{at}ssm_f_a", x, dim), n)
        beta, tensors = self.linear(f"{at}ssm_beta", x, n_heads), (f"{at}ssm_dt.bias", f"{at}ssm_a")
        sizes, number = (n_heads, n_heads, dim, dim), layer.number
        op = Delta(f"{at}delta", q, k, v, beta, decay, *tensors, number, *sizes, self.hp.eps)
        h = graph.append(op)
        gate = self.linear(f"{at}ssm_g_b", self.linear(f"{at}ssm_g_a", x, dim), n)
        h = graph.append(Gate(f"{at}ssm_gated", self.norm(f"{at}ssm_norm", h, dim), gate))
        return self.linear(f"{at}attn_output", h, self.hp.dim)

    def convolved(self, layer: Layer, name: str, x: str) -> Part:
        """q, k or v behind a convolution of its own."""
        stem, dim = f"{layer.at}ssm_conv1d_{name}", layer.n_heads * self.k_dim
        options = {"dim": dim, "n_taps": self.n_taps}
        return Part(self.conv(stem, Part(x), layer, **options, silu=True, state=f"conv_{name}"))
