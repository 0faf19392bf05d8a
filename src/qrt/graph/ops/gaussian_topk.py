"""GaussianTopK: the largest values of a row, told by its mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class GaussianTopK(Op):
    """out = relu(x - mean - n_deviations * deviation), both of the row, which is seen as the whole.

    Activation sparsity of Gemma 3n: values need no sorting where they are about normal.
    """

    kind = "gaussian_topk"
    overwrites = True

    out: str
    x: str
    n_deviations: float

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)
