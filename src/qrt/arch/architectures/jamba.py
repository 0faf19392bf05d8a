"""jamba: Jamba."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.experts import ExpertRules
from qrt.arch.hparams import Layer
from qrt.arch.mamba import Mamba
from qrt.arch.mixture import Mixture


class Architecture(Mamba, Mixture):
    """Lieber et al. 2024: Mamba, attention without positions, and experts in some layers."""

    rope_style = None
    norms_inside = "learned"
    rules = ExpertRules(optional=True, renormalize=False)

    def feed_forward(self, layer: Layer, x: str) -> str:
        """Layers with experts are those that have a router."""
        if f"{layer.at}ffn_gate_inp.weight" in self.source.tensors:
            return super().feed_forward(layer, x)
        return Decoder.feed_forward(self, layer, x)
