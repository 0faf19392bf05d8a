"""internlm2: InternLM2 and InternLM2.5."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Cai et al. 2024: Llama's layers."""

    rope_style = "norm"
