"""Builds a graph op by op, keeping track of row widths and of the shape each weight must have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from qrt.graph.ir import (
    Add,
    Attention,
    Embed,
    Glu,
    Graph,
    Linear,
    Norm,
    Op,
    Rope,
    RopeSpec,
    Select,
)


class GraphBuilder:
    """Collects ops. Every method appends one op and returns the name of the value it makes."""

    def __init__(self) -> None:
        self._ops: list[Op] = []
        self._widths: dict[str, int] = {}
        self._weights: dict[str, tuple[int, ...]] = {}

    def embed(self, out: str, table: str, n_vocab: int, dim: int, scale: float = 1.0) -> str:
        """Rows of `table` (n_vocab, dim), one per token."""
        self._weight(table, (n_vocab, dim))
        return self._append(Embed(out, table, scale), dim)

    def norm(
        self,
        out: str,
        x: str,
        weight: str,
        eps: float,
        *,
        group: int | None = None,
        kind: Literal["rms", "layer"] = "rms",
        bias: str | None = None,
    ) -> str:
        """Normalizes runs of `group` values, the whole row by default; weight and bias (group,)."""
        group = group or self._widths[x]
        assert self._widths[x] % group == 0, out
        for name in (weight, bias):
            self._weight(name, (group,))
        return self._append(Norm(out, x, weight, group, eps, kind, bias), self._widths[x])

    def linear(self, out: str, x: str, weight: str, width: int, bias: str | None = None) -> str:
        """x @ weight.T + bias; weight (width, width of x), bias (width,)."""
        self._weight(weight, (width, self._widths[x]))
        self._weight(bias, (width,))
        return self._append(Linear(out, x, weight, bias), width)

    def rope(self, out: str, x: str, head_dim: int, spec: RopeSpec) -> str:
        """Turns every head of x by the row's position."""
        assert self._widths[x] % head_dim == 0, out
        return self._append(Rope(out, x, head_dim, spec), self._widths[x])

    def attention(
        self,
        out: str,
        q: str,
        k: str,
        v: str,
        *,
        layer: int,
        head_dim: int,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
    ) -> str:
        """Causal attention over the cache of `layer`; numbers of heads follow from the widths."""
        n_heads, n_kv_heads = self._widths[q] // head_dim, self._widths[k] // head_dim
        assert self._widths[k] == self._widths[v] == n_kv_heads * head_dim, out
        assert n_heads % n_kv_heads == 0, out
        op = Attention(out, q, k, v, layer, n_heads, n_kv_heads, head_dim, scale, window, softcap)
        return self._append(op, n_heads * head_dim)

    def glu(self, out: str, gate: str, up: str, act: Literal["silu", "gelu"] = "silu") -> str:
        """act(gate) * up"""
        assert self._widths[gate] == self._widths[up], out
        return self._append(Glu(out, gate, up, act), self._widths[up])

    def add(self, out: str, a: str, b: str) -> str:
        """a + b"""
        assert self._widths[a] == self._widths[b], out
        return self._append(Add(out, a, b), self._widths[a])

    def select(self, out: str, x: str) -> str:
        """The rows of x whose logits were asked for; everything after runs on those alone."""
        return self._append(Select(out, x), self._widths[x])

    def build(
        self,
        arch: str,
        *,
        n_ctx_train: int,
        n_layers: int,
        dim: int,
        unused: Iterable[str] = (),
    ) -> Graph:
        """The graph; its output is the last value made, as wide as the vocabulary."""
        output = self._ops[-1].out
        return Graph(
            arch=arch,
            ops=tuple(self._ops),
            output=output,
            weights=self._weights,
            widths=self._widths,
            n_vocab=self._widths[output],
            n_ctx_train=n_ctx_train,
            n_layers=n_layers,
            dim=dim,
            unused=frozenset(unused),
        )

    def _append(self, op: Op, width: int) -> str:
        assert op.out not in self._widths, f"value {op.out} is made twice"
        self._ops.append(op)
        self._widths[op.out] = width
        return op.out

    def _weight(self, name: str | None, shape: tuple[int, ...]) -> None:
        if name is not None:
            assert self._weights.setdefault(name, shape) == shape, name
