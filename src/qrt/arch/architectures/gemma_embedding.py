"""gemma-embedding: EmbeddingGemma."""

from __future__ import annotations

from qrt.arch.architectures import gemma3


class Architecture(gemma3.Architecture):
    """Schechter Vera et al. 2025: Gemma 3 whose rows see those that follow, half a window to
    either side.
    """

    sees_ahead = True
    caps = {}  # noqa: RUF012
