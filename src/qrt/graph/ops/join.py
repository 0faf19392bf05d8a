"""Join: the heads of two values side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Join(Op):
    """Head h of the result is head h of a, then head h of b; a b of one head goes to all."""

    kind = "join"
    hands_over = True

    out: str
    a: str
    b: str
    a_width: int
    b_width: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.a, self.b

    def width(self, widths: Mapping[str, int]) -> int:
        n_heads = widths[self.a] // self.a_width
        assert widths[self.a] == n_heads * self.a_width, self.out
        assert widths[self.b] in (self.b_width, n_heads * self.b_width), self.out
        return n_heads * (self.a_width + self.b_width)
