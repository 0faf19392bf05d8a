"""minicpm: MiniCPM, dense."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.architectures import granite, llama
from qrt.arch.hparams import Layer
from qrt.graph.ops.rope import RopeSpec


class Architecture(granite.Architecture):
    """Hu et al. 2024: embeddings, residuals and logits scaled; old files lack the numbers."""

    def numbers(self) -> Mapping[str, float | None]:
        return {
            "embedding_scale": 12.0,
            "residual_scale": 1.4 * len(self.hp.layers) ** -0.5,
            "logit_scale": self.hp.dim / 256,
        }

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return llama.Architecture.rope_spec(self, layer)
