"""The seam between runtime and a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtensor import QTensor
from qrt.graph.batch import Batch, Phase
from qrt.graph.ir import Graph

Progress = Callable[[str, int, int], None]
"""progress(what, done, total), called from the thread that loads."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a backend is told when it prepares a model."""

    n_threads: int
    n_pages: int
    max_rows: int  # rows in one prefill step
    kv_type: str  # "f16", "f32" or "q8_0"


class Executor(Protocol):
    """A prepared model: weights in place, KV pages allocated."""

    settings: Settings

    def step(self, batch: Batch, phase: Phase) -> NDArray[np.float32]:
        """Runs one step; logits (n_logits, n_vocab), valid until the next step.

        A KeyboardInterrupt in the calling thread, or `cancel()` from another, stops it between ops:
        the interrupt is raised (cancel: `Cancelled`), and the KV slots of the batch's rows hold
        rubbish until they are written again.
        """

    def cancel(self) -> None:
        """Stops the step under way, from any thread."""

    def placement(self) -> list[tuple[str, str]]:
        """(op, where and how it runs) in order, for `qrt info`."""

    def close(self) -> None:
        """Frees weights and pages."""


class Cancelled(Exception):  # noqa: N818
    """A step was stopped by `cancel()`."""


Prepare = Callable[[Graph, Mapping[str, QTensor], Settings, Progress], Executor]
