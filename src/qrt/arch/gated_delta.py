"""The decoder of which most layers have the gated delta rule in place of attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from qrt.arch.decoder import Decoder
from qrt.arch.hparams import Kind, Layer
from qrt.arch.source import Source
from qrt.graph.op import Part
from qrt.graph.ops.delta import Delta
from qrt.graph.ops.gate import Gate
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.slice import Slice

RECURRENT, INTERVAL = "attention.recurrent_layers", "full_attention_interval"


@dataclass(frozen=True, slots=True)
class DeltaSizes:
    """Heads of v, those of q and k that they share, channels of each, taps of the convolution."""

    n_heads: int
    n_k_heads: int
    k_dim: int
    v_dim: int
    n_taps: int

    @property
    def keys(self) -> int:
        """Width of q, and of k."""
        return self.n_k_heads * self.k_dim

    @property
    def values(self) -> int:
        """Width of v."""
        return self.n_heads * self.v_dim


def read_delta(source: Source) -> DeltaSizes:
    """Reads and checks the keys. Raises ArchError."""
    n_heads, n_k_heads = source.count("ssm.time_step_rank"), source.count("ssm.group_count")
    inner = source.count("ssm.inner_size")
    if n_k_heads == 0 or n_heads % n_k_heads:
        expected = f"a divisor of the {n_heads} heads of values"
        raise source.wrong(source.key("ssm.group_count"), expected, n_k_heads)
    if inner % n_heads:
        expected = f"a multiple of the {n_heads} heads"
        raise source.wrong(source.key("ssm.inner_size"), expected, inner)
    k_dim, n_taps = source.count("ssm.state_size"), source.count("ssm.conv_kernel")
    return DeltaSizes(n_heads, n_k_heads, k_dim, inner // n_heads, n_taps)


class GatedDelta(Decoder):
    """Yang et al. 2024, as Qwen has it: a short convolution before, a gated norm behind. Layers of
    attention make a gate for their results beside the queries.
    """

    ffn_norm = "post_attention_norm"
    qk_norm = "head"
    grouped: ClassVar[bool] = False
    """Whether heads of v that share q and k are neighbours."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.sizes, layer = read_delta(source), self.hp.layers[0]
        if layer.value_dim != layer.head_dim:
            key = source.key("attention.value_length")
            raise source.wrong(key, f"{layer.head_dim}, the width of a query", layer.value_dim)

    def kind_of(self, layer: Layer) -> Kind:
        """As the file lists them, or every so many layers one of attention."""
        source = self.source
        if source.has(RECURRENT):
            recurrent = source.flags(RECURRENT, source.count("block_count"))[layer.number]
        else:
            recurrent = (layer.number + 1) % source.count(INTERVAL, 4) != 0
        return "recurrent" if recurrent else "attention"

    def recurrent(self, layer: Layer, x: str) -> str:
        graph, at, sizes = self.graph, layer.at, self.sizes
        qkv, z = self.projected(layer, x)
        beta, decay = self.gates(layer, x)
        width, n_taps = graph.widths[qkv], sizes.n_taps
        h = self.conv(f"{at}ssm_conv1d", Part(qkv), layer, dim=width, n_taps=n_taps, silu=True)
        q, k, v = (Part(h, start) for start in (0, sizes.keys, 2 * sizes.keys))
        tensors = (f"{at}ssm_dt.bias", f"{at}ssm_a")
        heads = (sizes.n_heads, sizes.n_k_heads, sizes.k_dim, sizes.v_dim)
        eps, number = self.hp.eps, layer.number
        op = Delta(f"{at}delta", q, k, v, beta, decay, *tensors, number, *heads, eps, self.grouped)
        h = self.norm(f"{at}ssm_norm", graph.append(op), sizes.v_dim)
        return self.linear(f"{at}ssm_out", graph.append(Glu(f"{at}ssm_gated", z, h)), self.hp.dim)

    def projected(self, layer: Layer, x: str) -> tuple[str, str]:
        """q, k and v side by side before their convolution, and what gates the result."""
        at, sizes = layer.at, self.sizes
        qkv = self.linear(f"{at}attn_qkv", x, 2 * sizes.keys + sizes.values)
        return qkv, self.linear(f"{at}attn_gate", x, sizes.values)

    def gates(self, layer: Layer, x: str) -> tuple[str, str]:
        """Of each head how far it corrects, and how fast it fades."""
        names = (f"{layer.at}ssm_beta", f"{layer.at}ssm_alpha")
        beta, decay = (self.linear(name, x, self.sizes.n_heads) for name in names)
        return beta, decay

    def qkv(self, layer: Layer, x: str) -> tuple[str, str, str]:
        """The query projection has of each head its query, then its gate."""
        at, n = layer.at, layer.head_dim
        both, k, v = super().qkv(replace(layer, n_heads=2 * layer.n_heads), x)
        self.gate = self.graph.append(Slice(f"{at}attn_gate", both, 2 * n, n, n))
        return self.graph.append(Slice(f"{at}attn_query", both, 2 * n, 0, n)), k, v

    def output(self, layer: Layer, h: str) -> str:
        gated = self.graph.append(Gate(f"{layer.at}attn_gated", h, self.gate))
        return super().output(layer, gated)
