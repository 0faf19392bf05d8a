"""glm4: GLM-4, GLM-Z1 and GLM-OCR, their text side."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.source import Source


class Architecture(Decoder):
    """GLM Team 2025: norms before and after, rope on part of each head, gate and up joined."""

    attn_post_norm = "post_attention_norm"
    ffn_post_norm = "post_ffw_norm"
    ffn = "fused"

    def __init__(self, source: Source) -> None:
        sections = source.counts("rope.dimension_sections", 4, (0, 0, 0, 0))
        self.rope_style = "neox" if sections[0] and sections[1] else "norm"
        super().__init__(source)
