"""orion: Orion-14B."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Chen et al. 2024: Llama's layers with LayerNorm."""

    norm_kind = "layer"
    required_biases = ("attn_norm", "ffn_norm", "output_norm")
