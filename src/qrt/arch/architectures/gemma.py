"""gemma: Gemma and CodeGemma."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Gemma Team 2024: scaled embeddings, GeGLU; files hold norm weights with the 1 added."""

    act = "gelu"

    def numbers(self) -> Mapping[str, float | None]:
        return {"embedding_scale": self.hp.dim**0.5}
