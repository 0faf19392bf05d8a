"""baichuan: Baichuan and Baichuan 2."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.graph.ops.rope import RopeSpec


class Architecture(Decoder):
    """Yang et al. 2023: Llama's layers. Files do not say how a model knows positions, its depth
    does: rope at 7B, ALiBi at 13B.
    """

    rope_style = "norm"

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.max_alibi_bias": 8.0} if len(self.hp.layers) == 40 else {}

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        return super().rope_spec(layer) if len(self.hp.layers) == 32 else None
