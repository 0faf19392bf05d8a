"""The graph: a model as a flat list of named ops on rows, without loops over tokens or kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from qrt.graph.heads import Head, Pooling, Ranking
from qrt.graph.op import ENCODED, Op, WeightUse
from qrt.graph.state import StateGroup


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole model, or a part of one. `weights` maps each tensor name to the shape it must have.

    The output of a model is its logits (n_logits, n_vocab); of one with `pooling` the hidden states
    (n_logits, dim) behind its last norm, of the rows that a step names as its logit rows; of a part
    that others follow those of all rows.
    """

    arch: str
    ops: tuple[Op, ...]
    starts: tuple[int, ...]
    """The number of the first op of each layer; what precedes and follows the layers is outside."""
    output: str
    weights: dict[str, tuple[int, ...]]
    widths: dict[str, int]  # value name -> row width
    states: tuple[StateGroup, ...]
    """What the layers remember; a step has a table for each group, in this order."""
    n_vocab: int
    n_ctx_train: int
    dim: int
    unused: frozenset[str] = field(default_factory=frozenset)  # file tensors folded in elsewhere
    pooling: Pooling | None = None
    """What the model's embedding of a text is made of; None: it gives logits."""
    dense: tuple[Head, ...] = ()
    """The layers behind the pooled row of an embedding, in order; no op runs them."""
    ranking: Ranking | None = None
    """How the model scores a pair of texts, if it can; no op runs that."""
    n_adapters: int = 0
    """Low-rank adapters, of each of which a row of a step uses as much as its segment says."""
    decoder_start: int | None = None
    """The token with which a decoder begins to answer a text that an encoder has read; None: there
    is no encoder beside it."""

    @property
    def n_encoding(self) -> int:
        """How many ops, the first ones, run on the rows that an encoder reads."""
        rows_of: dict[str, str] = {}
        for number, op in enumerate(self.ops):
            rows = op.rows(rows_of)
            if rows != ENCODED:
                return number
            if op.out is not None:
                rows_of[op.out] = rows
        return len(self.ops)

    @property
    def n_layers(self) -> int:
        return len(self.starts)

    @property
    def head_weights(self) -> dict[str, tuple[int, ...]]:
        """The tensors of the layers that no op runs, and the shapes they must have."""
        heads = (*self.dense, *(() if self.ranking is None else self.ranking.heads))
        return {name: shape for head in heads for name, shape in head.weights.items()}

    @property
    def whole_texts(self) -> bool:
        """Whether rows see what follows them: a step has all rows of a text, from position 0 on."""
        return any(op.sees_ahead for op in self.ops)

    @property
    def n_types(self) -> int:
        """Types that a token may have, as whether it is of a pair's first text or its second."""
        return max((op.n_types for op in self.ops), default=1)

    def uses(self) -> Iterator[WeightUse]:
        """Every reading of a weight, in order."""
        for op in self.ops:
            yield from op.weights(self.widths)

    def shares(self) -> dict[str, float]:
        """What share of each weight one row reads: of a mixture, the experts that it is sent to.

        Tables that are only looked up are left out, and an encoder beside a decoder is.
        """
        shares: dict[str, float] = {}
        for op in self.ops[self.n_encoding :]:
            of = op.work(self.widths, 1, 0).weights
            for use in op.weights(self.widths):
                if use.role != "table":
                    share = 1.0 if of is None else of[use.name]
                    shares[use.name] = max(share, shares.get(use.name, 0.0))
        return shares

    def active_params(self) -> int:
        """Weights that a row needs: all, but of a mixture those of the experts it is sent to."""
        shares = self.shares()
        sizes = {name: math.prod(shape) for name, shape in self.weights.items()}
        return round(sum(size * shares.get(name, 1.0) for name, size in sizes.items()))

    def group_of(self, kind: str, layer: int) -> int:
        """The number of the state group of a kind that a layer belongs to."""
        groups = enumerate(self.states)
        return next(n for n, group in groups if group.kind == kind and layer in group.layers)
