"""gemma4: Gemma 4, its text side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from qrt.arch.architectures import gemma3
from qrt.arch.hparams import Layer, Windows
from qrt.arch.source import Source, place
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.slice import Slice

KEYS_AND_VALUES = {f"attn_{part}.weight" for part in ("k", "v", "k_norm")}


class Architecture(gemma3.Architecture):
    """Google 2026: layers that see all have wider heads and turn part of them. Values are
    normalized, and are keys where there is no matrix for them. The last layers attend to keys and
    values of earlier ones. Each layer has an embedding of its own for every token.
    """

    windows = Windows(period=6, length=None)
    rope_factors = "rope_freqs.weight"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.extra_dim = source.count("embedding_length_per_layer_input", 0)
        layers, n_shared = self.hp.layers, source.count("attention.shared_kv_layers", 0)
        self.n_own = len(layers) - n_shared
        for layer in layers:
            if layer.value_dim != layer.head_dim:
                key = "attention.value_length" + ("" if layer.window is None else "_swa")
                expected = f"the key length, {layer.head_dim}"
                raise source.wrong(source.key(key), expected, layer.value_dim)
        for layer in layers[max(0, self.n_own) :]:
            cache = self.cache_of(layer)
            if cache < 0 or state_of(layers[cache]) != state_of(layer):
                expected = f"a number of layers so that {cache} is like {layer.number}"
                raise source.wrong(source.key("attention.shared_kv_layers"), expected, n_shared)

    def cache_of(self, layer: Layer) -> int:
        """The last layer of its kind with keys and values of its own; -1: there is none."""
        own = self.hp.layers[: max(0, self.n_own)]
        alike = [other.number for other in own if other.window == layer.window]
        return alike[-1] if alike else -1

    def numbers(self) -> Mapping[str, float | None]:
        return {**super().numbers(), "attention.scale": 1.0}

    def embed(self) -> str:
        """Also makes the embeddings of all layers, (n_layers * extra_dim)."""
        x = super().embed()
        if self.extra_dim:
            n, graph = len(self.hp.layers) * self.extra_dim, self.graph
            name, scale = "per_layer_token_embd", self.extra_dim**0.5
            own = graph.append(Embed(name, f"{name}.weight", self.hp.n_vocab, n, scale))
            h = self.linear("per_layer_model_proj", x, n)
            h = self.norm("per_layer_proj_norm", self.scaled(h, self.hp.dim**-0.5), self.extra_dim)
            self.extra = self.scaled(graph.append(Add("per_layer", h, own)), 0.5**0.5)
        return x

    def block(self, layer: Layer, x: str) -> str:
        """With the layer's embedding added, and scaled as a whole."""
        at, graph, x = layer.at, self.graph, super().block(layer, x)
        if n := self.extra_dim:
            name, whole = f"{at}per_layer", len(self.hp.layers) * n
            own = graph.append(Slice(name, self.extra, whole, layer.number * n, n))
            h = graph.append(Glu(f"{at}inp_glu", self.linear(f"{at}inp_gate", x, n), own, "gelu"))
            h = self.norm(f"{at}post_norm", self.linear(f"{at}proj", h, self.hp.dim))
            x = graph.append(Add(f"{at}per_layer_add", x, h))
        return self.scaled(x, self.output_scale(f"{at}layer_output_scale.weight"))

    def output_scale(self, name: str) -> float:
        """What the output of a layer is multiplied by."""
        if name not in self.source.tensors:
            return 1.0
        value = float(self.source.vector(name, 1)[0])
        if not math.isfinite(value):
            raise self.source.wrong(f"tensor {name!r}", "a finite number", value)
        return value

    def attention(self, layer: Layer, x: str) -> str:
        """The last layers only make queries."""
        if layer.number < self.n_own:
            return super().attention(layer, x)
        q = self.linear(f"{layer.at}attn_q", x, layer.n_heads * layer.head_dim)
        q = self.rotated(layer, "attn_q", self.head_norm(layer, "attn_q", q))
        return self.attend(layer, q, None, None, self.cache_of(layer))

    def qkv(self, layer: Layer, x: str) -> tuple[str, str, str]:
        at = layer.at
        if {f"{at}attn_v.weight", f"{at}attn_qkv.weight"} & self.source.tensors.keys():
            q, k, v = super().qkv(layer, x)
        else:
            q = self.linear(f"{at}attn_q", x, layer.n_heads * layer.head_dim)
            k = v = self.linear(f"{at}attn_k", x, layer.n_kv_heads * layer.head_dim)
        v_norm = Norm(f"{at}attn_v_norm", v, None, layer.value_dim, self.hp.eps)
        return q, k, self.graph.append(v_norm)

    def unused(self) -> Iterator[str]:
        """The keys and values of layers that attend to those of others, too."""
        yield from super().unused()
        for name in self.source.tensors:
            block, stem = place(name)
            not_own = block is not None and block >= self.n_own and stem in KEYS_AND_VALUES
            if not_own or stem == "layer_output_scale.weight":
                yield name


def state_of(layer: Layer) -> tuple[int | None, ...]:
    """What layers that share keys and values have in common."""
    return layer.n_kv_heads, layer.head_dim, layer.value_dim, layer.window
