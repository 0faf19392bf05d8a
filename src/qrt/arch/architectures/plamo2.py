"""plamo2: PLaMo 2."""

from __future__ import annotations

from qrt.arch.hparams import Layer
from qrt.arch.mamba import Mamba, check_divides
from qrt.arch.source import Source
from qrt.graph.op import Part
from qrt.graph.ops.slice import Slice
from qrt.graph.ops.ssd import Ssd


class Architecture(Mamba):
    """Preferred Networks 2025: Mamba's layers with the scan of Mamba-2, norms around all parts."""

    attn_post_norm = "post_attention_norm"
    ffn_post_norm = "post_ffw_norm"
    qk_norm = "each"
    ffn = "fused"
    norms_inside = "learned"
    required_biases = ("ssm_dt",)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        check_divides(source, "ssm.time_step_rank", self.ssm.rank, self.ssm.dim)

    def recurrent(self, layer: Layer, x: str) -> str:
        at, dim, n_heads = layer.at, self.ssm.dim, self.ssm.rank
        both, width = self.linear(f"{at}ssm_in", x, 2 * dim), dim // n_heads
        gate, h = (
            self.graph.append(Slice(f"{at}ssm_in_{name}", both, 2 * width, start, width))
            for name, start in (("gate", 0), ("x", width))
        )
        h = self.conv(f"{at}ssm_conv1d", Part(h), layer, dim=dim, n_taps=self.ssm.n_taps, silu=True)
        dt, b, c = self.chosen(layer, h)
        dt = self.linear(f"{at}ssm_dt", dt, n_heads)
        weights, sizes = (f"{at}ssm_a", f"{at}ssm_d", None), (n_heads, width, 1, self.ssm.n_state)
        parts = (Part(h), b, c, Part(dt), Part(gate))
        y = self.graph.append(Ssd(f"{at}ssm_scan", *parts, *weights, layer.number, *sizes))
        return self.linear(f"{at}ssm_out", y, self.hp.dim)

    def chosen(self, layer: Layer, x: str) -> tuple[str, Part, Part]:
        """dt is wider than there are heads."""
        at, n, rank = layer.at, self.ssm.n_state, max(64, self.hp.dim // 16)
        whole = self.linear(f"{at}ssm_x", x, 2 * n + rank)
        b, c, dt = self.split(whole, {f"{at}ssm_b": n, f"{at}ssm_c": n, f"{at}ssm_rank": rank})
        b, c, dt = (
            self.norm(f"{at}ssm_{name}_norm", value)
            for name, value in (("b", b), ("c", c), ("dt", dt))
        )
        return dt, Part(b), Part(c)
