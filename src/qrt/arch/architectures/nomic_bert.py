"""nomic-bert: nomic-embed-text 1 and 1.5."""

from __future__ import annotations

from qrt.arch.encoder import Encoder


class Architecture(Encoder):
    """Nussbaum et al. 2024: BERT with rotary embedding and SwiGLU."""

    act = "silu"
