"""nemotron_h: Nemotron-H, Nemotron Nano 2."""

from __future__ import annotations

from dataclasses import replace

from qrt.arch.hparams import Kind, Layer
from qrt.arch.mamba import Mamba2, OnePart
from qrt.arch.source import Source, full_key


class Architecture(OnePart, Mamba2):
    """NVIDIA 2025: each layer is one of Mamba-2, attention without positions, and a network."""

    rope_style = None
    ffn = "plain"
    act = "relu2"
    required_biases = ()
    optional_biases = ("ssm_conv1d", "attn_output", "ffn_up", "ffn_down")

    def __init__(self, source: Source) -> None:
        """Files may have the epsilon of their norms under the name of LayerNorm's alone."""
        own, other = (
            full_key(source.arch, f"attention.layer_norm_{kind}epsilon") for kind in ("rms_", "")
        )
        if own not in source.metadata and other in source.metadata:
            source = replace(source, metadata={**source.metadata, own: source.metadata[other]})
        super().__init__(source)

    def kind_of(self, layer: Layer) -> Kind:
        return "none" if layer.ffn_dim else super().kind_of(layer)
