"""t5: T5, Flan-T5, mT5, UMT5 and MADLAD: an encoder, and a decoder that answers what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.arch.t5 import T5Encoder
from qrt.graph.graph import Graph
from qrt.graph.ops.attention import Attention
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.select import Select
from qrt.graph.ops.store_kv import StoreKV


@dataclass(frozen=True, slots=True)
class DecoderLayer(Layer):
    """Sizes of one layer of the decoder; layers are numbered through from the encoder's first."""

    block: int = 0

    @property
    def at(self) -> str:
        return f"dec.blk.{self.block}."


class Architecture(T5Encoder):
    """Keys and values of the encoder's text and of the answer lie in one cache, one behind the
    other: positions are numbered through, and each attention of a layer sees one part.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        layer, first = self.hp.layers[0], len(self.hp.layers)
        n = source.count("decoder_block_count", first)
        sizes = layer.n_heads, layer.n_kv_heads, layer.head_dim, layer.value_dim, layer.ffn_dim
        self.answering = tuple(DecoderLayer(first + i, *sizes, block=i) for i in range(n))

    def build(self, embedding: bool | None = None) -> Graph:
        """Where vectors of texts are wanted, the encoder alone."""
        if embedding or (embedding is None and self.source.has("pooling_type")):
            graph, tensors = super().build(embedding), self.source.tensors
            return replace(graph, unused=graph.unused | {n for n in tensors if n[:4] == "dec."})
        hp = self.hp
        if (start := self.source.count("decoder_start_token_id", 0)) >= hp.n_vocab:
            key = self.source.key("decoder_start_token_id")
            raise self.source.wrong(key, f"a token of the {hp.n_vocab} there are", start)
        table = "token_embd.weight"
        x = self.graph.append(Embed("enc.token_embd", table, hp.n_vocab, hp.dim, encodes=True))
        for layer in hp.layers:
            self.graph.begin_layer()
            x = self.block(layer, x)
        text = self.final(x)
        for layer in self.answering:
            self.remember(layer, text)
        x = self.embed()
        for layer in self.answering:
            self.graph.begin_layer()
            x = self.block(layer, x)
        self.head(self.norm("dec.output_norm", self.graph.append(Select("selected", x))))
        return self.graph.build(
            self.source.arch,
            n_ctx_train=2 * hp.n_ctx_train,
            dim=hp.dim,
            unused=self.unused(),
            decoder_start=start,
        )

    def remember(self, layer: DecoderLayer, text: str) -> None:
        """Stores what a layer of the decoder sees of the text that the encoder has read."""
        sizes = layer.n_kv_heads, layer.head_dim, layer.value_dim
        k = self.linear(f"{layer.at}cross_attn_k", text, layer.n_kv_heads * layer.head_dim)
        v = self.linear(f"{layer.at}cross_attn_v", text, layer.n_kv_heads * layer.value_dim)
        self.graph.append(StoreKV(k, v, layer.number, *sizes))

    def attended(self, layer: Layer, x: str, h: str) -> str:
        x = super().attended(layer, x, h)
        if not isinstance(layer, DecoderLayer):
            return x
        at, sizes = layer.at, (layer.n_heads, layer.n_kv_heads, layer.head_dim, layer.value_dim)
        q = self.norm(f"{at}cross_attn_norm", x)
        q = self.linear(f"{at}cross_attn_q", q, layer.n_heads * layer.head_dim)
        scale = self.number("attention.scale", 1.0)
        op = Attention(f"{at}cross_attn", q, layer.number, *sizes, scale=scale, sees="encoded")
        h = self.linear(f"{at}cross_attn_o", self.graph.append(op), self.hp.dim)
        return self.add(f"{at}cross_attn_add", x, h)

    def attend(
        self, layer: Layer, q: str, k: str | None, v: str | None, cache: int | None = None
    ) -> str:
        if not isinstance(layer, DecoderLayer):
            return super().attend(layer, q, k, v, cache)
        h = self.graph.attention(
            f"{layer.at}attn",
            *(q, k, v),
            layer=layer.number,
            n_heads=layer.n_heads,
            n_kv_heads=layer.n_kv_heads,
            scale=self.number("attention.scale", 1.0),
            v_width=layer.value_dim,
            rel_bias=self.distance_bias(layer),
            n_buckets=self.n_buckets,
            sees="decoded",
        )
        return self.output(layer, h)

    def distance_bias(self, layer: Layer) -> str | None:
        layers = self.answering if isinstance(layer, DecoderLayer) else self.hp.layers
        return self.learned_bias(layer, layers[0])

    def head(self, x: str) -> str:
        """Logits; those of tied embeddings are scaled."""
        tied = "output.weight" not in self.source.tensors
        return super().head(self.scaled(x, self.hp.dim**-0.5 if tied else 1.0))

    def unused(self) -> Iterator[str]:
        yield from super().unused()
        yield from (name for name in self.source.tensors if "cross_attn_rel_b" in name)
