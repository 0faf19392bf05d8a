"""Mix: weighted sums of values that lie side by side in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Mix(Op):
    """out[j] = sum_i (fixed[j, i] + row_weights[j, i]) * x[i], x being `n_in` runs of equal width.

    `fixed`, (n_out, n_in) in one tuple, is the same for all rows; the value `row_weights`, n_out *
    n_in wide, has such numbers for each row.
    """

    kind = "mix"
    takes_residual = True

    out: str
    x: str
    n_in: int
    fixed: tuple[float, ...]
    row_weights: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,) if self.row_weights is None else (self.x, self.row_weights)

    @property
    def n_out(self) -> int:
        return len(self.fixed) // self.n_in

    def width(self, widths: Mapping[str, int]) -> int:
        assert len(self.fixed) == self.n_out * self.n_in, self.out
        assert widths[self.x] % self.n_in == 0, self.out
        assert all(widths[value] == len(self.fixed) for value in self.reads[1:]), self.out
        return widths[self.x] // self.n_in * self.n_out
