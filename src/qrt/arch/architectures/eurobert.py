"""eurobert: EuroBERT, and the embedding models made of it."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Boizard et al. 2025: a decoder of Llama's kind whose rows see those that follow."""

    sees_ahead = True
