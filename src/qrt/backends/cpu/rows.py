"""What a sampler asks of the thread team: rows of logits under masks, and what matters of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Survey
from qrt.backends.cpu.memory import address
from qrt.kernels.layout import MASK, SURVEY, fill
from qrt.kernels.objects import Library
from qrt.kernels.team import Team, lone_record

ROW_KERNELS = ("mask", "survey")

ROOM = 1024
"""Places for each row: of a flat one, which would have more, nothing is listed."""

Rows = Sequence[NDArray[np.float32]]


class LogitRows:
    """Runs ROW_KERNELS over rows (n_vocab,) of float32, each contiguous; one thread takes a row."""

    def __init__(self, library: Library, team: Team, step: int, n_vocab: int) -> None:
        """`step` is the address of a STEP with scratch memory for the team's threads."""
        self._library, self._team, self._step = library, team, step
        self._n_vocab = n_vocab
        self._ids = np.empty((0, ROOM), np.int64)
        self._logits = np.empty((0, ROOM), np.float32)
        self._masked = np.empty((0, n_vocab), np.float32)

    def masked(self, rows: Rows, masks: Sequence[NDArray[np.uint32]]) -> NDArray[np.float32]:
        """See `qrt.backends.base.Executor`."""
        n_rows = len(rows)
        if len(self._masked) < n_rows:
            self._masked = np.empty((n_rows, self._n_vocab), np.float32)
        self._run(
            "mask",
            MASK,
            rows=self._addresses(rows),
            masks=_addresses(masks),
            out=self._masked,
            n_in=self._n_vocab,
            n_rows=n_rows,
        )
        return self._masked[:n_rows]

    def survey(self, rows: Rows, wanted: Sequence[int]) -> list[Survey]:
        """See `qrt.backends.base.Executor`."""
        n_rows = len(rows)
        if len(self._ids) < n_rows:
            self._ids = np.empty((n_rows, ROOM), np.int64)
            self._logits = np.empty((n_rows, ROOM), np.float32)
        peaks, sums = np.empty((2, n_rows), np.float32)
        counts = np.empty(n_rows, np.int64)
        self._run(
            "survey",
            SURVEY,
            rows=self._addresses(rows),
            wanted=np.array(wanted, np.int64),
            n_in=self._n_vocab,
            n_rows=n_rows,
            room=ROOM,
            peaks=peaks,
            sums=sums,
            counts=counts,
            ids=self._ids,
            logits=self._logits,
        )
        norms = (peaks + np.log(sums, dtype=np.float64)).tolist()
        return [
            Survey(norm, self._ids[row, :n].copy(), self._logits[row, :n].copy())
            if wanted[row] and n <= ROOM
            else Survey(norm)
            for row, (norm, n) in enumerate(zip(norms, counts.tolist(), strict=True))
        ]

    def _addresses(self, rows: Rows) -> NDArray[np.int64]:
        assert all(row.shape == (self._n_vocab,) and row.dtype == np.float32 for row in rows)
        return _addresses(rows)

    def _run(self, kernel: str, record: Any, **values: NDArray[np.generic] | int) -> None:
        fields = {
            name: value if isinstance(value, int) else address(value)
            for name, value in values.items()
        }
        args = np.array(list(fill(record, fields)), np.int64)
        self._team.run(lone_record(self._library.address(kernel), args), self._step)


def _addresses(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.int64]:
    assert all(array.flags.c_contiguous for array in arrays)
    return np.array([address(array) for array in arrays], np.int64)
