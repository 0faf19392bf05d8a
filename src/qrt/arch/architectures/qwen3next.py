"""qwen3next: Qwen3-Next, Qwen3-Coder-Next."""

from __future__ import annotations

from qrt.arch.architectures import qwen35moe
from qrt.arch.hparams import Layer
from qrt.graph.ops.join import Join
from qrt.graph.ops.slice import Slice


class Architecture(qwen35moe.Architecture):
    """Qwen Team 2025: what is made for heads that share q and k lies side by side. Old files have
    q, k, v and the gate in one matrix.
    """

    grouped = True

    def projected(self, layer: Layer, x: str) -> tuple[str, str]:
        at, sizes = layer.at, self.sizes
        if f"{at}ssm_in.weight" not in self.source.tensors:
            return super().projected(layer, x)
        joined = self.linear(f"{at}ssm_in", x, 2 * sizes.keys + 2 * sizes.values)
        own = sizes.values // sizes.n_k_heads
        widths = {"q": sizes.k_dim, "k": sizes.k_dim, "v": own, "z": own}
        q, k, v, z = self.by_group(layer, joined, widths)
        qk = self.graph.append(Join(f"{at}ssm_qk", q, k, sizes.keys, sizes.keys))
        return self.graph.append(Join(f"{at}ssm_qkv", qk, v, 2 * sizes.keys, sizes.values)), z

    def gates(self, layer: Layer, x: str) -> tuple[str, str]:
        both = self.linear(f"{layer.at}ssm_ba", x, 2 * self.sizes.n_heads)
        n = self.sizes.n_heads // self.sizes.n_k_heads
        beta, decay = self.by_group(layer, both, {"beta": n, "alpha": n})
        return beta, decay

    def by_group(self, layer: Layer, x: str, widths: dict[str, int]) -> list[str]:
        """The parts of those widths, which lie side by side for each head of k."""
        start, group, made = 0, sum(widths.values()), []
        for name, width in widths.items():
            part = Slice(f"{layer.at}ssm_{name}", x, group, start, width)
            made.append(self.graph.append(part))
            start += width
        return made
