"""gemma2: Gemma 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from qrt.arch.architectures import gemma
from qrt.arch.hparams import Windows


class Architecture(gemma.Architecture):
    """Gemma Team 2024: norms before and after, a window in every other layer, capped scores."""

    attn_post_norm = "post_attention_norm"
    ffn_post_norm = "post_ffw_norm"
    windows = Windows(period=2, length=4096)
    caps: ClassVar[Mapping[str, float]] = {
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    n_layers_27b: ClassVar[int] = 46
    """Of the model whose queries are scaled by dim / n_heads, which is not its head size."""

    def numbers(self) -> Mapping[str, float | None]:
        return self.caps

    def number(self, key: str, neutral: float = 0.0) -> float:
        if key != "attention.scale" or len(self.hp.layers) != self.n_layers_27b:
            return super().number(key, neutral)
        return float((self.hp.dim // self.hp.layers[0].n_heads) ** -0.5)
