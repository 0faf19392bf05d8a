"""dbrx: DBRX."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Mosaic Research 2024: LayerNorm without biases, queries, keys and values clamped."""

    norm_kind = "layer"
    ffn_norm = "attn_output_norm"

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.clamp_kqv": None}
