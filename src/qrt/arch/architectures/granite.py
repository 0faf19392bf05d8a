"""granite: Granite 3 and 4, dense."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.architectures import llama
from qrt.arch.hparams import Layer
from qrt.graph.ops.rope import RopeSpec


class Architecture(llama.Architecture):
    """IBM 2024: embeddings, residuals, attention and logits scaled by numbers of the file."""

    def numbers(self) -> Mapping[str, float | None]:
        return {
            "embedding_scale": 1.0,
            "residual_scale": 1.0,
            "attention.scale": 0.0,
            "logit_scale": None,
        }

    def number(self, key: str, neutral: float = 0.0) -> float:
        value = super().number(key, neutral)
        return 1.0 / value if key == "logit_scale" else value

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        """Files whose rope is not "finetuned" have none."""
        return (
            super().rope_spec(layer) if self.source.flag("rope.scaling.finetuned", True) else None
        )
