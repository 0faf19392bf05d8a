"""Builds a graph op by op, keeping track of row widths, weights and what layers remember."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qrt.graph.graph import Graph
from qrt.graph.heads import Head, Pooling, Ranking
from qrt.graph.op import Op
from qrt.graph.ops.attention import Attention, Sees
from qrt.graph.ops.store_kv import StoreKV
from qrt.graph.state import KV, StateGroup


class GraphBuilder:
    """Collects ops in order."""

    def __init__(self) -> None:
        self.widths: dict[str, int] = {}
        """Values in a row, of every value made so far."""
        self._ops: list[Op] = []
        self._starts: list[int] = []
        self._weights: dict[str, tuple[int, ...]] = {}
        self._layers_of: dict[StateGroup, list[int]] = {}  # a group without layers -> its layers

    def begin_layer(self) -> None:
        """The ops that follow belong to the next layer; so do those behind the last one."""
        self._starts.append(len(self._ops))

    def append(self, op: Op) -> str:
        """Adds an op; the name of the value it makes, "" for none."""
        width = op.width(self.widths)
        for use in op.weights(self.widths):
            shape = self._weights.setdefault(use.name, use.shape)
            assert shape == use.shape, use.name
        if op.remembers is not None:
            layers = self._layers_of.setdefault(replace(op.remembers, layers=()), [])
            layers.extend(layer for layer in op.remembers.layers if layer not in layers)
        self._ops.append(op)
        if op.out is None:
            return ""
        assert op.out not in self.widths, f"value {op.out} is made twice"
        self.widths[op.out] = width
        return op.out

    def attention(
        self,
        out: str,
        q: str,
        k: str | None,
        v: str | None,
        *,
        layer: int,
        n_heads: int,
        n_kv_heads: int,
        scale: float,
        v_width: int | None = None,
        window: int | None = None,
        softcap: float | None = None,
        chunked: bool = False,
        sinks: str | None = None,
        max_bias: float = 0.0,
        rel_bias: str | None = None,
        n_buckets: int = 0,
        sees: Sees = "all",
    ) -> str:
        """Stores k and v in `layer`'s cache and attends to it.

        Without v, V is the first `v_width` values of each row of K; without k, an earlier op has
        stored both.
        """
        k_width = self.widths[q] // n_heads
        if v_width is None:
            v_width = k_width if v is None else self.widths[v] // n_kv_heads
        if k is not None:
            self.append(StoreKV(k, v, layer, n_kv_heads, k_width, v_width, window))
        kept = self._cache_of(layer)
        assert kept.window is None or (window is not None and window <= kept.window), out
        sizes = (kept.n_kv_heads, kept.k_width, kept.v_width)
        assert sizes == (n_kv_heads, k_width, v_width), out
        return self.append(
            Attention(
                out,
                q,
                layer,
                n_heads,
                *sizes,
                scale=scale,
                window=window,
                softcap=softcap,
                chunked=chunked,
                sinks=sinks,
                max_bias=max_bias,
                v_in_k=kept.v_in_k,
                rel_bias=rel_bias,
                n_buckets=n_buckets,
                sees=sees,
            )
        )

    def _cache_of(self, layer: int) -> KV:
        """What was said of a layer's keys and values when they were stored."""
        return next(
            group
            for group, layers in self._layers_of.items()
            if isinstance(group, KV) and layer in layers
        )

    def build(
        self,
        arch: str,
        *,
        n_ctx_train: int,
        dim: int,
        n_vocab: int | None = None,
        unused: Iterable[str] = (),
        pooling: Pooling | None = None,
        dense: tuple[Head, ...] = (),
        ranking: Ranking | None = None,
        decoder_start: int | None = None,
    ) -> Graph:
        """The graph; its output is the last value made, as wide as the vocabulary unless said."""
        output = self._ops[-1].out
        assert output is not None
        states = self._layers_of.items()
        return Graph(
            arch=arch,
            ops=tuple(self._ops),
            starts=tuple(self._starts),
            output=output,
            weights=self._weights,
            widths=self.widths,
            states=tuple(replace(group, layers=tuple(layers)) for group, layers in states),
            n_vocab=n_vocab or self.widths[output],
            n_ctx_train=n_ctx_train,
            dim=dim,
            unused=frozenset(unused),
            pooling=pooling,
            dense=dense,
            ranking=ranking,
            decoder_start=decoder_start,
        )
