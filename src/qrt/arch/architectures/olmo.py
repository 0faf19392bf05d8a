"""olmo: OLMo 1."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Groeneveld et al. 2024: LayerNorm without weights, clamped queries, keys and values."""

    norm_kind = "layer"
    norm_weights = False
    rope_style = "norm"

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.clamp_kqv": 0.0}
