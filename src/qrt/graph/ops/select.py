"""Select: from all rows to those whose logits were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import LOGITS, Op


@dataclass(frozen=True, slots=True)
class Select(Op):
    """out = the rows of x whose logits were asked for; what follows runs on those alone."""

    kind = "select"
    share = "gather"

    out: str
    x: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return LOGITS
