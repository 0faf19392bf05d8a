"""The encoder of T5 and its relatives (Raffel et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.graph.ops.attend_rows import AttendRows


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

    def final(self, x: str) -> str:
        return self.norm("enc.output_norm", x)

    def attend_rows(self, layer: Layer, q: str, k: str, v: str) -> str:
        own = f"{layer.at}attn_rel_b.weight"
        first = f"{self.hp.layers[0].at}attn_rel_b.weight"
        return self.graph.append(
            AttendRows(
                f"{layer.at}attn",
                *(q, k, v),
                layer=layer.number,
                n_heads=layer.n_heads,
                n_kv_heads=layer.n_kv_heads,
                k_width=layer.head_dim,
                v_width=layer.value_dim,
                scale=1.0,
                rel_bias=own if own in self.source.tensors else first,
                n_buckets=self.n_buckets,
            )
        )

    def output(self, layer: Layer, h: str) -> str:
        return self.linear(f"{layer.at}attn_o", h, self.hp.dim)
