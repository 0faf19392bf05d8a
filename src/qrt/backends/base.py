"""The seam between runtime and a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as shown
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError
from qrt.formats.gguf import GGUFFile
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import Batch, Phase
from qrt.graph.ir import Graph

Progress = Callable[[str, int, int], None]
"""progress(what, done, total), called from the thread that loads."""

KV_TYPES = ("f16", "f32", "q8_0", "q4_0")
"""In what stored keys and values may be held: floats, or blocks of 32."""


def kv_types(kv_type: str) -> tuple[str, str]:
    """The type of K and that of V, from "f16" for both or "q8_0,q4_0" for one each.

    Raises InputError for others.
    """
    parts = kv_type.split(",") if isinstance(kv_type, str) else []
    if len(parts) not in (1, 2) or not set(parts) <= set(KV_TYPES):
        expected = f"one of {', '.join(KV_TYPES)}, or two for K,V such as q8_0,q4_0"
        raise InputError(f"kv_type must be {expected}; got {shown(kv_type)}")
    return parts[0], parts[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a backend may tune: each changes the speed of steps, none their results.

    None is one thread per CPU.
    """

    prefill_rows: int = 512
    prefill_threads: int | None = None
    decode_threads: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a backend is told when it prepares a model."""

    n_threads: int  # that load weights and prefill
    capacities: tuple[int, ...]  # of each state group of the graph: its pages, or its slots
    max_rows: int  # rows in one step
    kv_type: str  # as `kv_types` reads it
    file: GGUFFile | None = None
    """Where the tensors are from; without it, nothing made of them is kept for the next start."""
    decode_threads: int | None = None  # None: n_threads

    def threads_of(self, phase: Phase) -> int:
        """The threads that run the steps of a phase."""
        return (phase == "decode" and self.decode_threads) or self.n_threads


class Executor(Protocol):
    """A prepared model: weights in place, pages and slots of every state group allocated."""

    settings: Settings

    def step(self, batch: Batch) -> NDArray[np.float32]:
        """Runs one step; logits (n_logits, n_vocab) in order, valid until the next step.

        Raises InputError where `check_batch` does, NonFiniteError for a state or logits that are
        not finite, and Cancelled. A KeyboardInterrupt in the calling thread, or `cancel()` from
        another, stops it between ops. After any of these, what the batch was to write (KV slots of
        its rows, Recurrent slots in second place) is rubbish until it is written again, and
        nothing else has changed.
        """

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page of a KV group, of all its layers, over another. Not during a step."""

    def cancel(self) -> None:
        """Stops the step under way, and every later one, from any thread."""

    def placement(self) -> list[tuple[str, str]]:
        """(op, where and how it runs) in order, for `qrt info`."""

    def close(self) -> None:
        """Frees weights and pages."""


class Cancelled(Exception):  # noqa: N818
    """A step was stopped by `cancel()`."""


Prepare = Callable[[Graph, Mapping[str, QTensor], Settings, Progress], Executor]
