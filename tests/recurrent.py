"""Kernels of ops that remember, run by hand: segments with states before them, what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from kernels import LOGIT_ROWS, Buffer, Lab
from numpy.typing import ArrayLike, NDArray

from qrt.backends.reference.ops import run
from qrt.graph.op import Op
from qrt.kernels import layout

Floats = NDArray[np.float32]


@dataclass
class Segments:
    """Rows of several sequences, `lengths` of each, and their states before (n_segments, n_values);
    a sequence that is `fresh` has none. What the states have become goes to `left`.
    """

    lengths: tuple[int, ...]
    fresh: tuple[bool, ...]
    before: Floats
    left: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return sum(self.lengths)

    def states(
        self,
        kind: str,  # noqa: ARG002
        layer: int,  # noqa: ARG002
        shape: tuple[int, ...],
    ) -> Iterator[tuple[range, NDArray[np.float64]]]:
        """As `Step.states` of the reference backend."""
        first = 0
        for i, length in enumerate(self.lengths):
            values = np.zeros(shape) if self.fresh[i] else self.before[i].reshape(shape)
            self.left[i] = values.astype(np.float64)
            yield range(first, first + length), self.left[i]
            first += length

    def meaning(
        self, op: Op, values: Mapping[str, Floats], weights: Mapping[str, Floats]
    ) -> NDArray[np.float64]:
        """What the reference backend makes of an op."""
        self.values = {name: value.astype(np.float64) for name, value in values.items()}
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        return run(self, op)


def random_segments(lengths: ArrayLike, n_values: int, rng: np.random.Generator) -> Segments:
    """Half of them fresh."""
    sizes = tuple(lengths)
    before = rng.normal(size=(len(sizes), n_values)).astype(np.float32)
    return Segments(sizes, tuple((rng.random(len(sizes)) < 0.5).tolist()), before)


def by_lanes(weight: Floats) -> Floats:
    """Rows of a weight 16 side by side, (n_panels, n, 16)."""
    padded = np.pad(weight, ((0, -len(weight) % 16), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, 16, weight.shape[1]).swapaxes(1, 2))


def run_kernel(
    lab: Lab,
    name: str,
    segments: Segments,
    before: Floats,
    record: Callable[[Mapping[str, int]], NDArray[np.int64]],
    out: Buffer,
) -> tuple[Floats, Floats]:
    """`out` and the states left (n_segments, n_values), from those `before` as the kernel has them;
    `record` makes its arguments, given those of its slots.
    """
    n, n_values = before.shape
    slots = Buffer((2 * n, n_values), np.float32)
    fill = lab.record(
        layout.ADD,
        a=lab.put(np.concatenate([before, np.full_like(before, np.nan)])),
        b=lab.put(np.full(slots.array.shape, -0.0, np.float32)),
        out=slots.address,
        n_in=n_values,
        rows_of=LOGIT_ROWS,
    )
    tables = [lab.put(np.int32([-1 if segments.fresh[i] else i, n + i])) for i in range(n)]
    of_rows = lab.put(np.repeat(np.int64(tables), segments.lengths))
    places = {"group": 1, "slots": slots.address, "slot_stride": 4 * n_values}
    calls = [("add", fill), (name, record(places))]
    counts = {"n_rows": segments.n_rows, "n_logits": 2 * n}
    made, after = lab.run(calls, [out, slots], tables=lab.put(np.int64([0, of_rows])), **counts)
    np.testing.assert_array_equal(after[:n], before)
    return made, after[n:]
