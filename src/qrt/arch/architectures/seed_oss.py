"""seed_oss: Seed-OSS."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """ByteDance Seed 2025; its norm before the feed-forward network has another name."""

    ffn_norm = "post_attention_norm"
