"""Shift: the row before, of the same sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op
from qrt.graph.state import Recurrent


@dataclass(frozen=True, slots=True)
class Shift(Op):
    """out = the row of x one position earlier, zeros at the first position.

    RWKV's token shift; the state of kind `use` is the last row of x, `dim` values wide.
    """

    kind = "shift"
    share = "gather"

    out: str
    x: str
    layer: int
    dim: int
    use: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.x] == self.dim, self.out
        return self.dim

    @property
    def remembers(self) -> Recurrent:
        return Recurrent((self.layer,), 4 * self.dim, self.use)

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes
