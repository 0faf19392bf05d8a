"""qwen3vl: Qwen3-VL, its text side."""

from __future__ import annotations

from qrt.arch.architectures import qwen3


class Architecture(qwen3.Architecture):
    """Qwen Team 2025: for text, all sections of its rope have the same position."""
