"""qwen3: Qwen3 dense models."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Yang et al. 2025: every query and key head has an RMSNorm before rope."""

    two_sided = True
    rope_style = "neox"
    qk_norm = "head"
    cls_softmax = True
