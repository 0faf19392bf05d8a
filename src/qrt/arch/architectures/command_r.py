"""command-r: Command R, Aya."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Cohere 2024: one norm for attention and the feed-forward network beside it, scaled logits."""

    norm_kind = "layer"
    ffn_norm = None
    parallel = True
    rope_style = "norm"

    def numbers(self) -> Mapping[str, float | None]:
        return {"logit_scale": 1.0}
