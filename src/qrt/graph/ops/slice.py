"""Slice: some columns of each run of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """Of each run of `group` values of x the `size` from `start` on: a part of every head, or one
    of several matrices that a file holds as one.
    """

    kind = "slice"
    hands_over = True

    out: str
    x: str
    group: int
    start: int
    size: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.x] % self.group == 0, self.out
        assert 0 <= self.start < self.start + self.size <= self.group, self.out
        return widths[self.x] // self.group * self.size
