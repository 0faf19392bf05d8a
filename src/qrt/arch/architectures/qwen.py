"""qwen: the first Qwen."""

from __future__ import annotations

from dataclasses import replace

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer


class Architecture(Decoder):
    """Bai et al. 2023: files count the widths of gate and up together."""

    def feed_forward(self, layer: Layer, x: str) -> str:
        return super().feed_forward(replace(layer, ffn_dim=layer.ffn_dim // 2), x)
