"""What everyone needs to know of an op: each kind is a file of its own in `graph/ops`.

A value is a name that stands for an array (n_rows, width) float32. A weight is the name of a
tensor in the file. Weights are (out, in): `y[t, o] = sum_i x[t, i] * w[o, i]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from qrt.graph.state import StateGroup

ALL, LOGITS, ROUTED, ENCODED = "all", "logits", "routed", "encoded"
"""Row sets: all rows of a step, those whose logits were asked for, all once for each expert that
they were routed to, sorted by expert, and those of texts that an encoder reads; a model that has
those runs its ops on them first, and the others on all other rows."""

Share = Literal["rows", "gather", "panels", "heads", "queue"]
"""How threads share an op: each its own run of rows, and reads those alone (rows) or any (gather);
panels of outputs; rows and heads; or whatever is next (queue)."""

Role = Literal["vector", "lanes", "table", "matmul"]
"""What is done with a weight: read whole, read whole with 16 rows side by side, looked up by row,
or multiplied with."""


@dataclass(frozen=True, slots=True)
class Part:
    """Columns of a value from `start` on; the op that reads them knows how many."""

    value: str
    start: int = 0


@dataclass(frozen=True, slots=True)
class WeightUse:
    """A weight that an op reads, and the shape it must have; `x` is what a matmul's meets."""

    name: str
    shape: tuple[int, ...]
    role: Role = "vector"
    x: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What an op does in a step: a multiply-add counts as two flops.

    `weights` says what share of each weight's bytes is read, `positions` how many of the state of
    its layer.
    """

    flops: int = 0
    weights: Mapping[str, float] | None = None  # None: all of every weight
    positions: int = 0


class Op:
    """One op of a graph. A subclass is a frozen dataclass; what it does not state is as here."""

    __slots__ = ()

    kind: ClassVar[str]
    """Its file's name, here and wherever a backend runs it."""
    share: ClassVar[Share] = "rows"
    scratch: ClassVar[str | None] = None
    """Memory beside the values, by name, that its threads share while it runs."""
    looks_up: ClassVar[str | None] = None
    """Such memory of an op before it, which it reads."""
    hands_over: ClassVar[bool] = False
    """Whether it can write its result in more forms than float32 rows."""
    takes_residual: ClassVar[bool] = False
    """Whether another value can be added to its result."""
    places_output: ClassVar[bool] = False
    """Whether it can write the graph's output to where a step wants it."""
    overwrites: ClassVar[bool] = False
    """Whether its result may lie where the first value that it reads lay, if no other op reads
    that; one that lies where a step wants the graph's output stays there."""
    sees_ahead: ClassVar[bool] = False
    """Whether its rows read those that follow them in their segment."""
    forms_alone: ClassVar[bool] = False
    """Whether it writes the forms that matmuls want, and no float32 rows."""

    out: str | None
    """The value it makes; None if it changes a state alone."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it reads."""
        raise NotImplementedError

    def width(self, widths: Mapping[str, int]) -> int:
        """Values in a row of `out`, from the widths of what it reads, which it asserts to fit."""
        return widths[self.reads[0]]

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        """The weights it reads."""
        return ()

    @property
    def remembers(self) -> StateGroup | None:
        """The state it writes, as a group of its layer alone."""
        return None

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        """(kind, layer) of every state it reads."""
        return ()

    @property
    def state_writes(self) -> tuple[tuple[str, int], ...]:
        """(kind, layer) of every state it writes."""
        group = self.remembers
        return () if group is None else tuple((group.kind, layer) for layer in group.layers)

    def rows(self, rows_of: Mapping[str, str]) -> str:
        """The row set it runs on, from those of the values before it."""
        return rows_of[self.reads[0]]

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        """Its work for `n_rows` rows of one sequence from position `start` on."""
        return Work()

    @property
    def n_known_positions(self) -> int | None:
        """Positions that it can work on, from 0 on; None for any."""
        return None

    @property
    def n_types(self) -> int:
        """Types that it knows of tokens, from 0 on."""
        return 1

    @property
    def label(self) -> str:
        """What a table of ops calls it: its weight, or the value it makes."""
        assert self.out is not None
        return self.out
