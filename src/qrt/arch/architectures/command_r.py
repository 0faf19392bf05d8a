"""command-r: Command R, Command R+, Aya."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Cohere 2024: one norm for attention and the feed-forward network beside it, scaled logits; in
    the largest model norms of query and key heads.
    """

    norm_kind = "layer"
    ffn_norm = None
    parallel = True
    qk_norm = "each"
    optional_norms = ("attn_q_norm", "attn_k_norm")
    rope_style = "norm"

    def numbers(self) -> Mapping[str, float | None]:
        return {"logit_scale": 1.0}
