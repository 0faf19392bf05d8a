"""Scatter: what the experts made of a row, weighted and added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import ALL, Op


@dataclass(frozen=True, slots=True)
class Scatter(Op):
    """The sum of each row's routed rows of x, in the order of their experts in `route`.

    With `weighted` they are multiplied by their weights.
    """

    kind = "scatter"
    share = "gather"
    takes_residual = True
    looks_up = "routing"

    out: str
    x: str
    route: str
    n_experts: int
    n_used: int
    weighted: bool = True

    @property
    def reads(self) -> tuple[str, ...]:
        return self.x, self.route

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return ALL
