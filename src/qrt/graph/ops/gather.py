"""Gather: the rows of a step sorted by the experts they go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import ROUTED, Op


@dataclass(frozen=True, slots=True)
class Gather(Op):
    """Each row of x once for each expert that `route` chose, sorted by expert, then by row.

    What follows runs on those rows. With `weighted` they are multiplied by their weights (Llama 4).
    """

    kind = "gather"
    share = "gather"
    hands_over = True
    forms_alone = True
    looks_up = "routing"

    out: str
    x: str
    route: str
    n_experts: int
    n_used: int
    weighted: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.x, self.route

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return ROUTED
