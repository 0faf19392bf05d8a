"""arwkv7: ARWKV, Qwen2 with RWKV-7's time mixing."""

from __future__ import annotations

from qrt.arch.architectures import rwkv7
from qrt.arch.hparams import Layer


class Architecture(rwkv7.Architecture):
    """Norms of heads and gates only where a file has them, and Qwen2's network."""

    norm_kind = "rms"
    embed_norm = None
    ffn_norm = "ffn_norm"
    required_biases = ()
    n_shifts = 1

    def normed_heads(self, layer: Layer, x: str) -> str:
        """The heads of a state's sums, normalized where the file says how."""
        has_norm = "time_mix_ln.weight" in self.source.stems
        return super().normed_heads(layer, x) if has_norm else x
