"""qwen35: Qwen3.5 and Qwen3.6 dense models, their text side."""

from __future__ import annotations

from qrt.arch.gated_delta import GatedDelta


class Architecture(GatedDelta):
    """Qwen Team 2026: for text, all sections of its rope have the same position."""
