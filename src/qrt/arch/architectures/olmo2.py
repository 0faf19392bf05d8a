"""olmo2: OLMo 2 and 3."""

from __future__ import annotations

from typing import ClassVar, Literal

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Windows


class Architecture(Decoder):
    """OLMo Team 2025: norms after alone, and over all queries and keys of a row; OLMo 3 has windows
    in three layers of four, whose rope is not scaled.
    """

    attn_norm = None
    attn_post_norm = "post_attention_norm"
    ffn_norm = None
    ffn_post_norm = "post_ffw_norm"
    qk_norm: ClassVar[Literal["head", "row"] | None] = "row"
    windows: Windows | None = Windows(period=4)
    local_rope_scaled = False
