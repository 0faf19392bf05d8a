"""smollm3: SmolLM3."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.graph.ops.rope import RopeSpec


class Architecture(Decoder):
    """Bakouch et al. 2025: every fourth layer goes without rope."""

    rope_style = "norm"

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return super().rope_spec(layer) if (layer.number + 1) % 4 else None
