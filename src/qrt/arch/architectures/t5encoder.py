"""t5encoder: the encoder of T5, and the embedding models made of it."""

from __future__ import annotations

from qrt.arch.t5 import T5Encoder


class Architecture(T5Encoder):
    """It gives hidden states."""
