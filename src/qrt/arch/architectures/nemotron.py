"""nemotron: Nemotron-4, Minitron."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Parmar et al. 2024: LayerNorm, squared ReLU and no gate."""

    norm_kind = "layer"
    ffn = "plain"
    act = "relu2"
    required_biases = ("attn_norm", "ffn_norm", "output_norm")
    optional_biases = ("attn_output", "ffn_up", "ffn_down")
