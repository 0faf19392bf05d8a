"""starcoder2: StarCoder2, and Granite's code models of 20B and 34B."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Lozhkov et al. 2024: LayerNorm, no gate, biases throughout."""

    norm_kind = "layer"
    ffn = "plain"
    act = "gelu"
    required_biases = (
        *("attn_norm", "ffn_norm", "output_norm"),
        *("attn_output", "ffn_up", "ffn_down"),
    )
