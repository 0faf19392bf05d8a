"""deci: DeciLM, and Nemotron models that were cut out of Llama 3."""

from __future__ import annotations

from qrt.arch.architectures import llama
from qrt.arch.hparams import Layer


class Architecture(llama.Architecture):
    """Bercovich et al. 2024: some layers have a matrix instead of attention, or lack attention, the
    feed-forward network or both.
    """

    attention_is = "somewhere"

    def block(self, layer: Layer, x: str) -> str:
        if layer.n_heads:
            h = self.norm_of(layer, self.attn_norm, x)
            x = self.add(f"{layer.at}attn_add", x, self.attention(layer, h))
        if layer.ffn_dim:
            h = self.norm_of(layer, self.ffn_norm, x)
            x = self.add(f"{layer.at}ffn_add", x, self.feed_forward(layer, h))
        return x

    def attention(self, layer: Layer, x: str) -> str:
        if layer.n_kv_heads:
            return super().attention(layer, x)
        return self.linear(f"{layer.at}attn_output", x, self.hp.dim)
