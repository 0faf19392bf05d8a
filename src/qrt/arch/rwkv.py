"""Decoders whose layers mix each row with the one before and with a state instead of attention."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.graph.ops.elementwise import Elementwise, Function
from qrt.graph.ops.layer_scale import LayerScale
from qrt.graph.ops.lerp import Lerp
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.shift import Shift

HEAD_EPS = 64e-5
"""Of the norm of a state's heads."""


class Rwkv(Decoder):
    """RWKV (Peng et al. 2023): time mixing and channel mixing of a row and the one before it.

    With `n_shifts` 1 the feed-forward network reads its row alone and is that of other decoders.
    """

    norm_kind: Literal["rms", "layer"] = "layer"
    embed_norm: ClassVar[str | None] = "token_embd_norm"
    ffn_norm: str | None = "attn_norm_2"
    required_biases: ClassVar[tuple[str, ...]] = (
        *("token_embd_norm", "output_norm", "attn_norm", "attn_norm_2", "time_mix_ln"),
    )
    attention_is = "nowhere"
    rope_style = None
    n_shifts: ClassVar[int] = 2

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        found = source.count("token_shift_count", 2)
        if found != self.n_shifts:
            raise source.wrong(source.key("token_shift_count"), f"{self.n_shifts}", found)
        dim, head_dim = self.hp.dim, source.count("wkv.head_size")
        if dim % head_dim:
            raise source.wrong(source.key("wkv.head_size"), f"a divisor of {dim}", head_dim)
        n_heads = dim // head_dim
        sizes = (n_heads, self.kv_heads(n_heads), head_dim, head_dim)
        layers = (
            Layer(layer.number, *sizes, layer.ffn_dim, kind="recurrent") for layer in self.hp.layers
        )
        self.hp = replace(self.hp, layers=tuple(layers))

    def kv_heads(self, n_heads: int) -> int:
        """Heads of keys and values."""
        return n_heads

    def feed_forward(self, layer: Layer, x: str) -> str:
        """Channel mixing: a squared ReLU network of a row and the one before."""
        if self.n_shifts == 1:
            return super().feed_forward(layer, x)
        at, before = layer.at, self.before(layer, "shift_ffn", x)
        k = self.between(f"{at}channel_mix_lerp_k", x, before)
        k = self.linear(f"{at}channel_mix_key", k, layer.ffn_dim)
        k = self.applied("relu2", k)
        return self.linear(f"{at}channel_mix_value", k, self.hp.dim)

    def before(self, layer: Layer, use: str, x: str) -> str:
        """The row of x before each."""
        return self.graph.append(Shift(f"{layer.at}{use}", x, layer.number, self.hp.dim, use))

    def between(
        self, name: str, x: str, other: str, more: str | None = None, part: int = 0, n: int = 1
    ) -> str:
        """From x towards another value, by the weight `name`, of which there may be `n` in one."""
        value = f"{name}.{part}" if n > 1 else name
        return self.graph.append(Lerp(value, x, other, f"{name}.weight", more, part, n))

    def applied(self, function: Function, x: str, parameter: float = 0.0) -> str:
        """A function of each value."""
        return self.graph.append(Elementwise(f"{x}_{function}", x, function, parameter))

    def low_rank(
        self,
        first: str,
        second: str,
        x: str,
        rank: int,
        function: Function | None = None,
        bias: str | None = None,
    ) -> str:
        """x through two narrow matrices, with a function between and a bias behind them."""
        h = self.linear(first, x, rank)
        if function is not None:
            h = self.applied(function, h, 1.0)
        return self.graph.append(Linear(second, h, f"{second}.weight", self.hp.dim, bias))

    def normed_heads(self, layer: Layer, x: str) -> str:
        """The heads of a state's sums, normalized, each with weights of its own."""
        name = f"{layer.at}time_mix_ln"
        x = self.graph.append(Norm(f"{x}_normed", x, None, layer.head_dim, HEAD_EPS, "layer"))
        return self.graph.append(LayerScale(name, x, f"{name}.weight", f"{name}.bias"))
