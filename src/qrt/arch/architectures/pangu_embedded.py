"""pangu-embedded: openPangu-Embedded."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Chen et al. 2025: attention has biases throughout."""

    required_biases = ("attn_output",)
