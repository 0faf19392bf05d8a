"""gpt2: GPT-2 and models of its shape."""

from __future__ import annotations

from typing import ClassVar

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Radford et al. 2019: learned positions, LayerNorm, no gate, biases throughout."""

    learned_positions = True
    rope_style = None
    norm_kind = "layer"
    ffn = "plain"
    act = "gelu"
    required_biases: ClassVar[tuple[str, ...]] = (
        *("attn_norm", "ffn_norm", "output_norm"),
        *("attn_qkv", "attn_output", "ffn_up", "ffn_down"),
    )
