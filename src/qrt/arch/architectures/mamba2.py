"""mamba2: Mamba-2, and Codestral Mamba."""

from __future__ import annotations

from qrt.arch.mamba import Mamba2, OnePart


class Architecture(OnePart, Mamba2):
    """Dao and Gu 2024."""

    attention_is = "nowhere"
