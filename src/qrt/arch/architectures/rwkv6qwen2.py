"""rwkv6qwen2: QRWKV6, Qwen2 with RWKV-6's time mixing."""

from __future__ import annotations

from qrt.arch.architectures import rwkv6
from qrt.arch.hparams import Layer
from qrt.arch.rwkv import Rwkv
from qrt.graph.ops.gate import Gate


class Architecture(rwkv6.Architecture):
    """Fewer heads of keys and values, no weight of a row's own key, and Qwen2's network."""

    norm_kind = "rms"
    embed_norm = None
    ffn_norm = "ffn_norm"
    required_biases = ()
    optional_biases = ("output_norm", "time_mix_key", "time_mix_value", "time_mix_receptance")
    n_shifts = 1
    has_first = False
    feed_forward = Rwkv.feed_forward

    def kv_heads(self, n_heads: int) -> int:
        """As many as the file says; 0 stands for as many as there are of queries."""
        found = self.source.count("attention.head_count_kv", 0) or n_heads
        if n_heads % found:
            key = self.source.key("attention.head_count_kv")
            raise self.source.wrong(key, f"a divisor of the {n_heads} heads", found)
        return found

    def gated(self, layer: Layer, h: str, gate: str) -> str:
        """The sums of the heads behind their gate."""
        return self.graph.append(Gate(f"{layer.at}gated", h, gate))
