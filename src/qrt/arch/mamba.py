"""The layers of Mamba and Mamba-2, whatever stands between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Kind, Layer, Where
from qrt.arch.source import Source
from qrt.graph.op import Part
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.selective_scan import SelectiveScan
from qrt.graph.ops.ssd import Ssd


@dataclass(frozen=True, slots=True)
class Ssm:
    """Sizes of a layer with a state: `rank` is that of dt, or the number of heads in Mamba-2."""

    dim: int
    n_state: int
    n_taps: int
    rank: int


class Hybrid(Decoder):
    """A decoder of whose layers some have a state, those without heads of keys and values."""

    attention_is: ClassVar[Where] = "somewhere"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.ssm = Ssm(
            source.count("ssm.inner_size"),
            source.count("ssm.state_size"),
            source.count("ssm.conv_kernel"),
            source.count("ssm.time_step_rank"),
        )

    def kind_of(self, layer: Layer) -> Kind:
        return "attention" if layer.n_kv_heads else "recurrent"


class Mamba(Hybrid):
    """Gu and Dao 2023: what a channel keeps and takes in depends on the row."""

    required_biases: ClassVar[tuple[str, ...]] = ("ssm_conv1d", "ssm_dt")
    norms_inside: Literal["none", "plain", "learned"] = "none"
    """Whether dt, b and c are normalized: without weights, or by `ssm_dt_norm` and so on."""

    def recurrent(self, layer: Layer, x: str) -> str:
        at, dim = layer.at, self.ssm.dim
        both = self.linear(f"{at}ssm_in", x, 2 * dim)
        h = self.conv(
            f"{at}ssm_conv1d", Part(both), layer, dim=dim, n_taps=self.ssm.n_taps, silu=True
        )
        dt, b, c = self.chosen(layer, h)
        parts = (Part(h), b, c, Part(self.linear(f"{at}ssm_dt", dt, dim)), Part(both, dim))
        weights, sizes = (f"{at}ssm_a", f"{at}ssm_d"), (layer.number, dim, self.ssm.n_state)
        y = self.graph.append(SelectiveScan(f"{at}ssm_scan", *parts, *weights, *sizes))
        return self.linear(f"{at}ssm_out", y, self.hp.dim)

    def chosen(self, layer: Layer, x: str) -> tuple[str, Part, Part]:
        """dt (rank), b (n_state) and c (n_state) of each row."""
        at, rank, n = layer.at, self.ssm.rank, self.ssm.n_state
        all_three = self.linear(f"{at}ssm_x", x, rank + 2 * n)
        if self.norms_inside == "none":
            (dt,) = self.split(all_three, {f"{at}ssm_rank": rank})
            return dt, Part(all_three, rank), Part(all_three, rank + n)
        widths = {f"{at}ssm_rank": rank, f"{at}ssm_b": n, f"{at}ssm_c": n}
        dt, b, c = self.split(all_three, widths)
        return (
            self.inner_norm(f"{at}ssm_dt_norm", dt),
            Part(self.inner_norm(f"{at}ssm_b_norm", b)),
            Part(self.inner_norm(f"{at}ssm_c_norm", c)),
        )

    def inner_norm(self, name: str, x: str) -> str:
        """dt, b or c, normalized."""
        if self.norms_inside == "learned":
            return self.norm(name, x)
        return self.graph.append(Norm(name, x, None, self.graph.widths[x], self.hp.eps))


class Mamba2(Hybrid):
    """Dao and Gu 2024: all channels of a head keep the same share."""

    required_biases: ClassVar[tuple[str, ...]] = ("ssm_conv1d",)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.n_groups = source.count("ssm.group_count")
        check_divides(source, "ssm.time_step_rank", self.ssm.rank, self.ssm.dim)
        check_divides(source, "ssm.group_count", self.n_groups, self.ssm.rank)

    def recurrent(self, layer: Layer, x: str) -> str:
        at, dim, n_heads = layer.at, self.ssm.dim, self.ssm.rank
        n = self.n_groups * self.ssm.n_state
        width = dim + 2 * n
        whole = self.linear(f"{at}ssm_in", x, dim + width + n_heads)
        h = self.conv(
            f"{at}ssm_conv1d",
            Part(whole, dim),
            layer,
            dim=width,
            n_taps=self.ssm.n_taps,
            silu=True,
        )
        parts = (Part(h), Part(h, dim), Part(h, dim + n), Part(whole, dim + width), Part(whole))
        weights = (f"{at}ssm_a", f"{at}ssm_d", f"{at}ssm_dt.bias")
        sizes = (n_heads, dim // n_heads, self.n_groups, self.ssm.n_state)
        y = self.graph.append(Ssd(f"{at}ssm_scan", *parts, *weights, layer.number, *sizes))
        y = self.norm(f"{at}ssm_norm", y, dim // self.n_groups, own_weights=True)
        return self.linear(f"{at}ssm_out", y, self.hp.dim)


def check_divides(source: Source, key: str, n: int, whole: int) -> None:
    """Raises ArchError unless n divides what is to be shared out."""
    if n == 0 or whole % n:
        raise source.wrong(source.key(key), f"a divisor of {whole}", n)


class OnePart(Decoder):
    """A decoder whose layers have a mixer or a network, not both."""

    def block(self, layer: Layer, x: str) -> str:
        h = self.norm_of(layer, self.attn_norm, x)
        if layer.kind == "none":
            return self.add(f"{layer.at}ffn_add", x, self.feed_forward(layer, h))
        return self.attended(layer, x, h)
