"""qwen2: Qwen2 and Qwen2.5, and models distilled into them."""

from __future__ import annotations

from typing import ClassVar

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Yang et al. 2024: queries, keys and values have a bias."""

    two_sided = True
    rope_style = "neox"
    required_biases = ("attn_q", "attn_k", "attn_v")
    optional_biases: ClassVar[tuple[str, ...]] = ("output",)
