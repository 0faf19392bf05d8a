"""exaone: EXAONE 3 and 3.5."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """LG AI Research 2024: Llama 3's layers."""

    rope_factors = "rope_freqs.weight"
