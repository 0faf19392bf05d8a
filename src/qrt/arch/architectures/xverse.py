"""xverse: XVERSE."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """XVERSE Technology 2023: Llama's layers."""

    rope_style = "norm"
