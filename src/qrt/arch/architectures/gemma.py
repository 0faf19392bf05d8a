"""gemma: Gemma and CodeGemma."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Gemma Team 2024: scaled embeddings, GeGLU; files hold norm weights with the 1 added."""

    act = "gelu"

    def number(self, key: str, neutral: float = 0.0) -> float:
        return self.hp.dim**0.5 if key == "embedding_scale" else super().number(key, neutral)
