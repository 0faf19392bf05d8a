"""The last layers attend to keys and values of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source, place
from qrt.graph.ops.slice import Slice

KEYS_AND_VALUES = {
    *("attn_k.weight", "attn_k.scale", "attn_k_norm.weight"),
    *("attn_v.weight", "attn_v.scale"),
}


class SharedKV(Decoder):
    """A decoder whose last `attention.shared_kv_layers` layers make queries alone and share the
    cache of an earlier layer (Brandon et al. 2024).
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        layers, n_shared = self.hp.layers, source.count("attention.shared_kv_layers", 0)
        self.n_own = len(layers) - n_shared
        """Layers that have keys and values of their own."""
        for layer in layers:
            cache = layers[self.cache_of(layer)]
            alike = (cache.n_kv_heads, cache.window) == (layer.n_kv_heads, layer.window)
            if self.n_own < 1 or not alike:
                expected = f"a number that leaves layer {layer.number} keys and values like its own"
                raise source.wrong(source.key("attention.shared_kv_layers"), expected, n_shared)

    def cache_of(self, layer: Layer) -> int:
        """The layer whose keys and values a layer attends to: the last like it that has some."""
        if layer.number < self.n_own:
            return layer.number
        own = self.hp.layers[: max(0, self.n_own)]
        return max((other.number for other in own if other.window == layer.window), default=0)

    def attention(self, layer: Layer, x: str) -> str:
        """The last layers only make queries."""
        if layer.number < self.n_own:
            return super().attention(layer, x)
        q = self.rotated(layer, "attn_q", self.head_norm(layer, "attn_q", self.query(layer, x)))
        return self.attend(layer, q, None, None, self.cache_of(layer))

    def query(self, layer: Layer, x: str) -> str:
        """Queries before norm and rope; of `attn_qkv`, where the file has it, the first values."""
        at, width = layer.at, layer.n_heads * layer.head_dim
        if f"{at}attn_qkv.weight" not in self.source.tensors:
            return self.linear(f"{at}attn_q", x, width)
        whole = width + layer.n_kv_heads * (layer.head_dim + layer.value_dim)
        joined = self.linear(f"{at}attn_qkv", x, whole)
        return self.graph.append(Slice(f"{at}attn_q", joined, whole, 0, width))

    def unused(self) -> Iterator[str]:
        """The keys and values of layers that attend to those of others, too."""
        yield from super().unused()
        for name in self.source.tensors:
            block, stem = place(name)
            if block is not None and block >= self.n_own and stem in KEYS_AND_VALUES:
                yield name
