"""How the matmuls of a step go, by its number of rows; none of this changes a bit of a result."""

from __future__ import annotations

from typing import NamedTuple

from qrt.graph.batch import phase_of
from qrt.graph.lower import Task
from qrt.graph.op import ALL
from qrt.kernels.isa import Tier
from qrt.kernels.layout import ROW_TILE


class Tiling(NamedTuple):
    """The activation `rows` that matmuls take at once, the name of their kernel with {} for the
    format of the weights, and whether quantized weights meet `bf16` lines instead.
    """

    rows: int
    matmul: str
    bf16: bool = False

    def in_bf16(self, task: Task) -> bool:
        """Whether a task's lines are bf16. Those of logit and routed rows, which are few for each
        matrix, stay quantized.
        """
        return self.bf16 and task.rows == ALL

    @property
    def routed(self) -> int:
        """The rows of an expert that matmuls take at once. An expert has few of a step's rows, but
        a tile that is partly empty costs little more than one row. Measured: 4 rows, 1.1 x.
        """
        return min(self.rows, ROW_TILE)


def few(rows: int) -> Tiling:
    """The tiling of steps whose weights are read as a stream, by tiles of `rows`."""
    return Tiling(rows, f"matmul.{{}}.{rows}")


def many(tier: Tier) -> Tiling:
    """The tiling of steps of many rows."""
    rows, panels = tier.prefill
    return Tiling(ROW_TILE, f"matmul_prefill.{{}}.{rows}.{panels}", tier.tiles)


def tilings(tier: Tier) -> set[Tiling]:
    """Every tiling that steps on `tier` run with."""
    return {*map(few, tier.rows), many(tier)}


def tiling_for(tier: Tier, n_rows: int) -> Tiling:
    """The tiling that a step of `n_rows` rows runs with: the widest tiles that waste no rows."""
    if phase_of(n_rows) == "prefill":
        return many(tier)
    wide = [rows for rows in tier.rows if rows >= min(n_rows, ROW_TILE)]
    return few(min(wide, key=lambda rows: (-(-n_rows // rows) * rows, -rows)))
