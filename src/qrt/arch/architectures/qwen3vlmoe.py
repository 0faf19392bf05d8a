"""qwen3vlmoe: Qwen3-VL with experts, its text side."""

from __future__ import annotations

from qrt.arch.architectures import qwen3moe


class Architecture(qwen3moe.Architecture):
    """Qwen Team 2025: for text, all sections of its rope have the same position."""
