"""chatglm: ChatGLM3, GLM-4 9B, GLM-Edge."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """GLM Team 2024: rope on half of each head, gate and up in one matrix."""

    rope_style = "norm"
    ffn = "fused"
