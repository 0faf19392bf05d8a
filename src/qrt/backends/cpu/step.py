"""The STEP record of an executor and the memory it points at, filled anew for each batch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.memory import address
from qrt.graph.batch import Batch
from qrt.graph.ops.rope import RopeSpec
from qrt.kernels.layout import SCRATCH, STEP
from qrt.kernels.team import aligned


def _word(field: str) -> int:
    index: int = getattr(STEP, field) // 8
    return index


_CANCEL, _FAULT, _N_ROWS, _N_LOGITS, _HIDDEN, _OUTPUT, _ROPE = map(
    _word, ("cancel", "fault", "n_rows", "n_logits", "hidden", "output", "rope")
)


class StepMemory:
    """Room for steps of up to `max_rows` rows; addresses stay the same from step to step.

    What stands in a table is read by pointer: the batch must outlive the step. `kept` is where the
    output lies, if not where the step says.
    """

    def __init__(
        self,
        n_groups: int,
        max_rows: int,
        n_threads: int,
        specs: Iterable[RopeSpec],
        kept: NDArray[np.float32] | None = None,
        n_adapters: int = 0,
    ) -> None:
        self._record = aligned(STEP.size)
        self._words = self._record.view(np.int64)
        self.address = address(self._record)
        self._tokens = np.zeros(max_rows, np.int32)
        self._positions = np.zeros(max_rows, np.int32)
        self._types = np.zeros(max_rows, np.int32)
        self._encoded = np.zeros(max_rows, np.int32)
        self._logit_rows = np.zeros(max_rows, np.int32)
        self._scales = np.zeros((max_rows, n_adapters), np.float32)
        self._logit_scales = np.zeros((max_rows, n_adapters), np.float32)
        self._tables = np.zeros((n_groups, max_rows), np.int64)
        self._of_groups = np.array([address(rows) for rows in self._tables], np.int64)
        self._scratch = aligned(SCRATCH * n_threads)
        self._count = np.arange(max_rows, dtype=np.int32)
        self._frequencies = [(spec.mscale, np.array(spec.inv_freq)) for spec in specs]
        self._rope = np.empty(0, np.float32)
        self._hidden: NDArray[np.float32] | None = None
        self._output = np.empty(0, np.float32) if kept is None else kept
        for field, memory in (
            ("tokens", self._tokens),
            ("positions", self._positions),
            ("types", self._types),
            ("encoded", self._encoded),
            ("logit_rows", self._logit_rows),
            ("tables", self._of_groups),
            ("scratch", self._scratch),
            ("scales", self._scales),
            ("logit_scales", self._logit_scales),
        ):
            self._words[_word(field)] = address(memory)

    def clear(self) -> None:
        """Neither cancelled nor faulty."""
        self._words[_CANCEL] = self._words[_FAULT] = 0

    def cancel(self) -> None:
        """Stops the threads at their next barrier."""
        self._words[_CANCEL] = 1

    @property
    def is_cancelled(self) -> bool:
        return bool(self._words[_CANCEL])

    @property
    def fault(self) -> int:
        """1 + a layer whose attention was not finite; 0 for none."""
        return int(self._words[_FAULT])

    def fill(self, batch: Batch, hidden: NDArray[np.float32] | None) -> None:
        """Takes over the rows of a batch, and hidden states (n_rows, dim) if there are any."""
        n_rows = n_logits = 0
        for segment in batch.segments:
            start, end = n_rows, n_rows + len(segment.tokens)
            last = n_logits + len(segment.logit_rows)
            self._tokens[start:end] = segment.tokens
            self._positions[start:end] = self._count[: end - start]
            self._positions[start:end] += segment.start
            self._types[start:end] = 0 if segment.types is None else segment.types
            self._encoded[start:end] = segment.n_encoded
            self._logit_rows[n_logits:last] = segment.logit_rows
            self._logit_rows[n_logits:last] += start
            if self._scales.size:
                scales = segment.scales or 0.0
                self._scales[start:end] = self._logit_scales[n_logits:last] = scales
            for group, table in enumerate(segment.tables):
                self._tables[group, start:end] = address(table)
            n_rows, n_logits = end, last
        self._words[_N_ROWS], self._words[_N_LOGITS] = n_rows, n_logits
        self._rope = self._cos_and_sin(self._positions[:n_rows])
        self._words[_ROPE] = address(self._rope)
        if hidden is not None:
            self._hidden = np.ascontiguousarray(hidden, np.float32)
            self._words[_HIDDEN] = address(self._hidden)

    def output(self, n_rows: int, width: int) -> NDArray[np.float32]:
        """Where the step's output goes, (n_rows, width), until a later step needs more room."""
        if self._output.size < n_rows * width:
            self._output = np.empty(n_rows * width, np.float32)
            self._words[_OUTPUT] = address(self._output)
        return self._output[: n_rows * width].reshape(n_rows, width)

    def _cos_and_sin(self, positions: NDArray[np.int32]) -> NDArray[np.float32]:
        """cos and sin of every spec, row and pair: (n_specs, n_rows, 2, rope_dim / 2) float32."""
        parts = []
        for mscale, inv_freq in self._frequencies:
            angles = positions[:, None] * inv_freq  # (n_rows, rope_dim / 2)
            both = np.stack([np.cos(angles), np.sin(angles)], axis=1) * mscale
            parts.append(both.astype(np.float32).ravel())
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)
