"""nomic-bert-moe: nomic-embed-text 2."""

from __future__ import annotations

from qrt.arch.encoder import Encoder
from qrt.arch.experts import ExpertRules
from qrt.arch.hparams import Layer
from qrt.arch.mixture import Mixture
from qrt.arch.source import Source


class Architecture(Encoder, Mixture):
    """Nussbaum and Duderstadt 2025: XLM-RoBERTa with rotary embedding; every n-th layer from the
    second on has experts without gates or biases.
    """

    ffn = "plain"
    rules = ExpertRules(renormalize=False)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.every = source.count("moe_every_n_layers")

    def has_mixture(self, layer: Layer) -> bool:
        return layer.number % self.every == 1
