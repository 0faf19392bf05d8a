"""Several residual streams side by side, of which a layer computes one and predicts the others."""

from __future__ import annotations

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.per_layer import PerLayer
from qrt.arch.source import Source
from qrt.graph.ops.add import Add
from qrt.graph.ops.elementwise import Elementwise
from qrt.graph.ops.head_linear import HeadLinear
from qrt.graph.ops.join import Join
from qrt.graph.ops.layer_scale import LayerScale
from qrt.graph.ops.mix import Mix
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.rescale import Rescale
from qrt.graph.ops.slice import Slice

FLOOR = 1e-5
"""Of mean squares that streams are divided by."""


class AltUp(PerLayer):
    """A decoder with alternating updates (Baykal et al. 2023), whose layers give what they have of
    a token to all streams but the first (Gemma 3n Team 2025).

    Streams lie side by side in the values that go from layer to layer.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if self.extra_dim == 0:
            expected = "embeddings for each layer"
            raise source.wrong(source.key("embedding_length_per_layer_input"), expected, 0)
        self.n_streams = source.count("altup.num_inputs")
        self.active = source.count("altup.active_idx")
        """The stream that layers compute."""
        if self.active >= self.n_streams:
            expected = f"one of the {self.n_streams} streams, counted from 0"
            raise source.wrong(source.key("altup.active_idx"), expected, self.active)

    def embed(self) -> str:
        """All streams, made of the embedding and as large as it."""
        x, n = super().embed(), self.n_streams - 1
        h = self.graph.append(Mix("altup_repeated", x, 1, (1.0,) * n))
        return self.streams("altup_proj", x, h)

    def streams(self, name: str, first: str, rest: str) -> str:
        """The first stream, and the others, each times its matrix and as large as the first."""
        graph, dim, n = self.graph, self.hp.dim, self.n_streams - 1
        h = graph.append(HeadLinear(name, rest, f"{name}.weight", n, dim))
        h = graph.append(Rescale(f"{name}_rescaled", h, first, FLOOR))
        return graph.append(Join(f"{name}_streams", first, h, dim, n * dim))

    def block(self, layer: Layer, x: str) -> str:
        """All streams are predicted, the active one is computed, by which all are corrected; the
        layer's own embedding goes to all but the first.
        """
        at, graph, n = layer.at, self.graph, self.n_streams
        weights = self.coefficients(layer, "predict", self.stream(f"{at}altup_last", x), n * n)
        unchanged = tuple(float(i == j) for i in range(n) for j in range(n))
        predicted = graph.append(Mix(f"{at}altup_predicted", x, n, unchanged, weights))
        active = self.stream(f"{at}altup_active", predicted)
        x = Decoder.block(self, layer, active)
        weights = self.coefficients(layer, "correct", x, n)
        h = graph.append(Add(f"{at}altup_innovation", x, self.scaled(active, -1.0)))
        h = graph.append(Mix(f"{at}altup_correction", h, 1, (1.0,) * n, weights))
        x = graph.append(Add(f"{at}altup_corrected", predicted, h))
        h = self.stream(f"{at}altup_computed", x)
        h = graph.append(LayerScale(f"{at}altup_scaled", h, f"{at}altup_correct_scale.weight"))
        h = self.own(layer, h)
        h = graph.append(Mix(f"{at}altup_own", h, 1, (0.0, *(1.0,) * (n - 1))))
        return graph.append(Add(f"{at}altup_add", x, h))

    def stream(self, name: str, x: str) -> str:
        """The active one of the streams x."""
        dim = self.hp.dim
        return self.graph.append(Slice(name, x, self.n_streams * dim, self.active * dim, dim))

    def coefficients(self, layer: Layer, step: str, x: str, width: int) -> str:
        """Weights of a mix of streams, which a router makes of x."""
        at, graph, dim = layer.at, self.graph, self.hp.dim
        name, router = f"{at}altup_{step}", f"{at}altup_router"
        h = graph.append(Norm(f"{name}_norm", x, f"{router}_norm.weight", dim, self.hp.eps))
        h = self.linear(f"{name}_router", self.scaled(h, 1 / dim), self.n_streams, router)
        h = graph.append(Elementwise(f"{name}_modalities", h, "softcap", 1.0))
        return self.linear(f"{name}_coef", h, width)

    def final(self, x: str) -> str:
        """The mean of all streams, normalized."""
        n, dim = self.n_streams, self.hp.dim
        first, rest = self.split(x, {"altup_first": dim, "altup_rest": (n - 1) * dim})
        x = self.streams("altup_unembd_proj", first, rest)
        return super().final(self.graph.append(Mix("altup_mean", x, n, (1 / n,) * n)))
