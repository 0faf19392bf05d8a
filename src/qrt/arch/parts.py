"""What blocks are put together from: norms and linear layers with what a file has for them."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.hparams import Hparams, Layer
from qrt.arch.options import Options
from qrt.arch.source import Source
from qrt.graph.builder import GraphBuilder
from qrt.graph.op import Part
from qrt.graph.ops.conv import Conv
from qrt.graph.ops.elementwise import Elementwise
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.slice import Slice

QKV = ("attn_q", "attn_k", "attn_v", "attn_qkv")


class Parts(Options):
    """Each method appends to `graph` and gives the name of the value it made.

    A value has the name of the weight that makes it (`blk.0.attn_q` comes from
    `blk.0.attn_q.weight`), or a name of its own beside it.
    """

    source: Source
    hp: Hparams
    graph: GraphBuilder

    def norm(self, name: str, x: str, group: int | None = None, own_weights: bool = False) -> str:
        """The norm `name` of runs of `group` values, None for whole rows; x if files lack it."""
        stem = name.split(".", 2)[-1]
        if stem in self.optional_norms and f"{stem}.weight" not in self.source.stems:
            return x
        weight = self.norm_weight(name) if self.norm_weights else None
        group = group or self.graph.widths[x]
        options = (self.hp.eps, self.norm_kind, self.bias(name), own_weights)
        return self.graph.append(Norm(name, x, weight, group, *options))

    def norm_weight(self, name: str) -> str:
        """The weight of a norm; some files leave out the end of its name."""
        return name if name in self.source.tensors else f"{name}.weight"

    def norm_of(self, layer: Layer, stem: str | None, x: str) -> str:
        """The norm of a layer that an option names; x where it names none."""
        return x if stem is None else self.norm(f"{layer.at}{stem}", x)

    def linear(self, name: str, x: str, width: int, weight: str | None = None) -> str:
        """Linear layer `name`, with the bias and the scale of its weight that the file has."""
        scale = f"{name}.scale" if f"{name}.scale" in self.source.tensors else None
        linear = Linear(name, x, f"{weight or name}.weight", width, self.bias(name), scale)
        return self.graph.append(linear)

    def conv(
        self,
        name: str,
        x: Part,
        layer: Layer,
        *,
        dim: int,
        n_taps: int,
        silu: bool = False,
        state: str = "conv",
    ) -> str:
        """Causal convolution `name` of `dim` columns, with the bias that the file has."""
        options = (layer.number, dim, n_taps, silu, state)
        return self.graph.append(Conv(name, x, f"{name}.weight", self.bias(name), *options))

    def bias(self, name: str) -> str | None:
        """The bias of a linear layer or norm, where the architecture and the file have one."""
        stem = name.split(".", 2)[-1]
        may = stem in QKV or stem in self.optional_biases
        has = stem in self.required_biases or (may and f"{stem}.bias" in self.source.stems)
        return f"{name}.bias" if has else None

    def split(self, x: str, widths: Mapping[str, int]) -> list[str]:
        """The values that lie side by side in the rows of x, named and of those widths."""
        whole, start, made = self.graph.widths[x], 0, []
        for name, width in widths.items():
            made.append(self.graph.append(Slice(name, x, whole, start, width)))
            start += width
        return made

    def scaled(self, x: str, factor: float) -> str:
        """x * factor"""
        if factor == 1.0:
            return x
        return self.graph.append(Elementwise(f"{x}_scaled", x, "scale", factor))

    def clamped(self, x: str, limit: float) -> str:
        """x from -limit to limit; x for a limit of 0"""
        if limit == 0.0:
            return x
        return self.graph.append(Elementwise(f"{x}_clamped", x, "clamp", limit))
