"""The encoder of T5 and its relatives (Raffel et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source


@dataclass(frozen=True, slots=True)
class EncoderLayer(Layer):
    """Sizes of one layer of the encoder."""

    @property
    def at(self) -> str:
        """How the names of its tensors begin."""
        return f"enc.blk.{self.number}."


class T5Encoder(Decoder):
    """Norms before, no rotation: scores are not scaled, and have a learned bias by distance, of
    each layer or of the first for all.
    """

    sees_ahead = True
    rope_style = None

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.n_buckets = source.count("attention.relative_buckets_count")
        layers = tuple(
            EncoderLayer(*(getattr(layer, field.name) for field in fields(layer)))
            for layer in self.hp.layers
        )
        self.hp = replace(self.hp, layers=layers)
        if f"{layers[0].at}ffn_gate.weight" in source.tensors:
            self.ffn, self.act = "gated", "gelu"
        else:
            self.ffn, self.act = "plain", "relu"

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.scale": 1.0}

    def final(self, x: str) -> str:
        return self.norm("enc.output_norm", x)

    def distance_bias(self, layer: Layer) -> str | None:
        return self.learned_bias(layer, self.hp.layers[0])

    def learned_bias(self, layer: Layer, first: Layer) -> str:
        """The weight of a layer's own bias by distance, else that of the first layer."""
        own, shared = (f"{each.at}attn_rel_b.weight" for each in (layer, first))
        return own if own in self.source.tensors else shared

    def placed(self, layer: Layer, q: str, k: str) -> tuple[str, str]:  # noqa: ARG002
        """As they are."""
        return q, k

    def output(self, layer: Layer, h: str) -> str:
        return self.linear(f"{layer.at}attn_o", h, self.hp.dim)
