"""arcee: AFM-4.5B."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Arcee 2025: Llama's layers with squared ReLU and no gate."""

    rope_style = "norm"
    rope_factors = "rope_freqs.weight"
    ffn = "plain"
    act = "relu2"
