"""nemotron_h_moe: Nemotron 3."""

from __future__ import annotations

from qrt.arch.architectures import nemotron_h
from qrt.arch.experts import EXPERT_DIM, GROUPS, NORM, SCALE, SHARED_DIM, ExpertRules
from qrt.arch.hparams import Layer
from qrt.arch.mixture import Mixture


class Architecture(nemotron_h.Architecture, Mixture):
    """NVIDIA 2025: networks are mixtures; larger models send fewer values than a row has to the
    chosen experts.
    """

    rules = ExpertRules(
        optional=True,
        keys=(EXPERT_DIM, SHARED_DIM, NORM, SCALE, GROUPS),
        gating="sigmoid",
        renormalize=False,
        shared="one",
        shared_dim="none",
        needs_bias=True,
        alone=True,
    )

    def routed(self, layer: Layer, x: str, logits: str) -> str:
        at, latent = layer.at, self.source.count("moe_latent_size", 0)
        if not latent:
            return super().routed(layer, x, logits)
        h = super().routed(layer, self.linear(f"{at}ffn_latent_down", x, latent), logits)
        return self.linear(f"{at}ffn_latent_up", h, self.hp.dim)
