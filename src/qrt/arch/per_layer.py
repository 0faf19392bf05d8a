"""Embeddings of tokens for each layer, beside those that the first layer reads."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.slice import Slice


class PerLayer(Decoder):
    """A decoder whose layers each add `extra_dim` values of every token to the residual stream,
    gated by it (Gemma 3n Team 2025).
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.extra_dim = source.count("embedding_length_per_layer_input", 0)
        """Of each layer; 0: there are none."""

    def embed(self) -> str:
        """Makes those of all layers, too: `per_layer`, (n_layers * extra_dim)."""
        x = super().embed()
        if self.extra_dim:
            width, name = len(self.hp.layers) * self.extra_dim, "per_layer_token_embd"
            sizes = (self.hp.n_vocab, width, self.extra_dim**0.5)
            own = self.graph.append(Embed(name, f"{name}.weight", *sizes))
            h = self.scaled(self.linear("per_layer_model_proj", x, width), self.hp.dim**-0.5)
            h = self.norm("per_layer_proj_norm", h, self.extra_dim)
            self.per_layer = self.scaled(self.graph.append(Add("per_layer", h, own)), 0.5**0.5)
        return x

    def block(self, layer: Layer, x: str) -> str:
        """With what the layer's own embedding gives added at the end."""
        x = super().block(layer, x)
        if self.extra_dim == 0:
            return x
        return self.graph.append(Add(f"{layer.at}per_layer_add", x, self.own(layer, x)))

    def own(self, layer: Layer, x: str) -> str:
        """The layer's own embedding, gated by x, as wide as that."""
        at, n, graph = layer.at, self.extra_dim, self.graph
        whole = graph.widths[self.per_layer]
        own = graph.append(Slice(f"{at}per_layer", self.per_layer, whole, layer.number * n, n))
        gate = self.linear(f"{at}inp_gate", x, n)
        h = graph.append(Glu(f"{at}inp_glu", gate, own, self.act))
        return self.norm(f"{at}post_norm", self.linear(f"{at}proj", h, self.hp.dim))
