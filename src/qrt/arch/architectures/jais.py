"""jais: Jais."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Sengupta et al. 2023: LayerNorm, ALiBi, biases; scores divided by the head size."""

    rope_style = None
    norm_kind = "layer"
    required_biases = (
        *("attn_norm", "ffn_norm", "output_norm"),
        *("attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
    )

    def numbers(self) -> Mapping[str, float | None]:
        return {
            "attention.max_alibi_bias": 0.0,
            "attention.scale": 1.0 / self.hp.layers[0].head_dim,
        }
