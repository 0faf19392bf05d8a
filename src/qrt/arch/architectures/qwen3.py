"""qwen3: Qwen3 dense models."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer


class Architecture(Decoder):
    """Yang et al. 2025: every query and key head has an RMSNorm before rope."""

    rope_style = "neox"
    optional_biases = ("attn_q", "attn_k", "attn_v")
    ignored = frozenset({"cls.output.weight"})  # the head of a reranker

    def qkv(self, layer: Layer, x: str) -> tuple[str, str, str]:
        """Queries and keys leave normalized."""
        q, k, v = super().qkv(layer, x)
        q = self.norm(f"{layer.at}attn_q_norm", q, group=layer.head_dim)
        k = self.norm(f"{layer.at}attn_k_norm", k, group=layer.head_dim)
        return q, k, v
