"""How the matmuls of a step go, by its number of rows; none of this changes a bit of a result."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from qrt.graph.batch import phase_of
from qrt.graph.graph import Graph
from qrt.graph.op import LOGITS, ROUTED
from qrt.graph.ops.route import Route
from qrt.kernels.isa import Tier
from qrt.kernels.layout import ROW_TILE

EXPERTS_EACH = 10
"""Experts for each that is used, up to which tile registers take routed rows."""


class Tiling(NamedTuple):
    """The name of the kernel of matmuls, with {} for the format of the weights, that of matmuls of
    routed rows, and the rows of a tile of activations in each row set.
    """

    matmul: str
    routed_matmul: str
    rows: int
    logit_rows: int
    routed_rows: int

    def tile_rows(self, rows: str) -> int:
        """The rows of a tile in a row set."""
        return {LOGITS: self.logit_rows, ROUTED: self.routed_rows}.get(rows, self.rows)


def few(rows: int) -> Tiling:
    """The tiling of steps whose weights are read as a stream, by tiles of `rows`.

    An expert has few of a step's rows, but a tile that is partly empty costs little more than one
    row. Measured: 4 rows, 1.1 x.
    """
    routed = min(rows, ROW_TILE)
    return Tiling(f"matmul.{{}}.{rows}", f"matmul.{{}}.{routed}", rows, rows, routed)


def many(tier: Tier) -> Tiling:
    """The tiling of steps of many rows."""
    usual, routed = (f"matmul_prefill.{{}}.{r}.{p}" for r, p in (tier.prefill, tier.routed))
    tile, routed_tile = (max(rows, ROW_TILE) for rows, _ in (tier.prefill, tier.routed))
    return Tiling(usual, routed, tile, ROW_TILE, routed_tile)


def tier_for(graph: Graph, tier: Tier) -> Tier:
    """The tier as a graph runs best on it: where experts are many, each has too few of a step's
    rows for tile registers. Measured: with 128 of which 8 are used 512 rows gain a twentieth and
    64 lose an eighth, with 32 of which 4 are used 512 gain a third.
    """
    routes = (op for op in graph.ops if isinstance(op, Route))
    if any(op.n_experts > EXPERTS_EACH * op.n_used for op in routes):
        return replace(tier, own_routed=min(tier.routed, (ROW_TILE, 2)))
    return tier


def tilings(tier: Tier) -> set[Tiling]:
    """Every tiling that steps on `tier` run with."""
    return {*map(few, tier.rows), many(tier)}


def tiling_for(tier: Tier, n_rows: int) -> Tiling:
    """The tiling that a step of `n_rows` rows runs with: the widest tiles that waste no rows."""
    if phase_of(n_rows) == "prefill":
        return many(tier)
    wide = [rows for rows in tier.rows if rows >= min(n_rows, ROW_TILE)]
    return few(min(wide, key=lambda rows: (-(-n_rows // rows) * rows, -rows)))
