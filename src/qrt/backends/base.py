"""The seam between runtime and a backend."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from reprlib import repr as shown
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.config import Env
from qrt.errors import BackendError, InputError, NonFiniteError
from qrt.formats.cache_types import CACHE_TYPES
from qrt.formats.gguf import GGUFFile
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import Batch, Phase, Segment
from qrt.graph.graph import Graph
from qrt.graph.ops.receive import Receive
from qrt.graph.state import first_unit, first_written, units_for
from qrt.progress import Progress


def kv_types(kv_type: str) -> tuple[str, str]:
    """The type of K and that of V, from "f16" for both or "q8_0,q4_0" for one each.

    Raises InputError for others.
    """
    parts = kv_type.split(",") if isinstance(kv_type, str) else []
    if len(parts) not in (1, 2) or not set(parts) <= set(CACHE_TYPES):
        expected = f"one of {', '.join(CACHE_TYPES)}, or two for K,V such as q8_0,q4_0"
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
class Footprint:
    """Bytes of memory that a graph takes on a backend, known from the header of its file."""

    packed: int
    """Weights that can be read from a file of packed weights, as they are used."""
    fixed: int
    """Other weights, values between ops and working memory."""
    units: tuple[int, ...]
    """A page, or a slot, of each state group."""


@dataclass(frozen=True, slots=True)
class Room:
    """The memory for packed weights that do not all fit, and what limits it."""

    n_bytes: int
    limit: str

    def __str__(self) -> str:
        return f"{self.n_bytes / 1e9:.2f} GB of memory ({self.limit})"

    def share(self, part: float) -> Room:
        """The room for a part of the weights."""
        return Room(int(part * self.n_bytes), self.limit)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a backend is told when it prepares a model."""

    n_threads: int  # that load weights and prefill
    capacities: tuple[int, ...]  # of each state group of the graph: its pages, or its slots
    max_rows: int  # rows in one step
    kv_type: str  # as `kv_types` reads it
    n_ctx: int  # positions of one sequence
    full_rows: int | None = None  # rows that are enough to be fast, if not max_rows
    file: GGUFFile | None = None
    """Where the tensors are from; without it, nothing made of them is kept for the next start."""
    decode_threads: int | None = None  # None: n_threads
    whole: Graph | None = None
    """The graph of `file` that this one is a part of, or a part of with adapters; without it, it is
    the whole model of `file`."""
    pack: bool | None = None
    """Whether packed weights are kept, and read from there; None: as the environment says."""
    room: Room | None = None
    """None: there is memory for all weights."""

    def threads_of(self, phase: Phase) -> int:
        """The threads that run the steps of a phase."""
        return (phase == "decode" and self.decode_threads) or self.n_threads


@dataclass(frozen=True, slots=True)
class Survey:
    """What a sampler needs of a row of logits, to choose one of its k largest."""

    norm: float
    """log(sum(exp(logits))); NaN where one of them is not finite."""
    ids: NDArray[np.int64] | None = None
    """(n,), rising: those of the k largest, and of all that equal the least of these, and maybe of
    some more; none whose logit is -inf. None where they are too many to be worth a list."""
    logits: NDArray[np.float32] | None = None
    """(n,), theirs."""


class Executor(Protocol):
    """A prepared model: weights in place, pages and slots of every state group allocated."""

    settings: Settings

    def step(self, batch: Batch, hidden: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Runs one step; logits (n_logits, n_vocab) in order, valid until the next step.

        A graph with `pooling` gives hidden states (n_logits, dim) of those rows instead.
        The first part of a graph that was cut gives hidden states (n_rows, dim) instead, which the
        next part takes as `hidden`. Raises InputError where `check_batch` does, NonFiniteError for
        attention that is not finite, and Cancelled. A KeyboardInterrupt in the calling thread, or
        `cancel()` from another, stops it between ops. After any of these, what the batch was to
        write (KV slots of its rows, Recurrent slots in second place) is rubbish until it is written
        again, and nothing else has changed.
        """

    def masked(
        self, rows: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.uint32]]
    ) -> NDArray[np.float32]:
        """Copies (n_rows, n_vocab) of contiguous rows of logits, -inf where bit i % 32 of word
        i // 32 of the row's mask is 0; valid until the next call. Not during a step.
        """

    def survey(self, rows: Sequence[NDArray[np.float32]], wanted: Sequence[int]) -> list[Survey]:
        """What a sampler needs of each contiguous row (n_vocab,), with its `wanted` largest, 0 for
        no list; the same whatever rows are beside it. Not during a step.
        """

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page of a KV group, of all its layers, over another. Not during a step."""

    def page(self, group: int, number: int) -> list[NDArray[np.uint8]]:
        """The memory of a page, or a slot, of a group, to be read or written whole. Not during a
        step."""

    def page_digest(self) -> bytes:
        """Of what makes the bytes of pages, beside the file and the settings."""

    def cancel(self) -> None:
        """Stops the step under way, and every later one, from any thread."""

    def placement(self) -> list[tuple[str, str]]:
        """(op, where and how it runs) in order, for `qrt info`."""

    def close(self) -> None:
        """Frees weights and pages; a second time does nothing."""


class PlainRows:
    """`masked` and `survey` of an executor that has no kernels for them."""

    def masked(
        self, rows: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.uint32]]
    ) -> NDArray[np.float32]:
        """See `Executor`."""
        bits = [
            np.unpackbits(mask.view(np.uint8), count=row.size, bitorder="little")
            for row, mask in zip(rows, masks, strict=True)
        ]
        return np.where(bits, rows, np.float32(-np.inf))

    def survey(self, rows: Sequence[NDArray[np.float32]], wanted: Sequence[int]) -> list[Survey]:
        """No lists."""
        return [Survey(norm(row)) for row, _ in zip(rows, wanted, strict=True)]


def norm(logits: NDArray[np.float32]) -> float:
    """log(sum(exp(logits))) of logits (n,); NaN where one of them is not finite."""
    peak = logits.max()
    if not (np.isfinite(peak) and np.isfinite(logits.min())):
        return math.nan
    return float(peak) + math.log(float(np.exp(logits - peak).sum()))


class Cancelled(Exception):  # noqa: N818
    """A step was stopped by `cancel()`."""


class Backend(Protocol):
    """What the package of a backend offers."""

    def choices(self, env: Env, n_threads: int | None) -> Choices:
        """What it was tuned to on this machine; `n_threads` goes first."""

    def check(self, graph: Graph) -> None:
        """Finds what runs each op. Raises BackendError where there is none."""

    def footprint(
        self, graph: Graph, tensors: Mapping[str, QTensor], settings: Settings
    ) -> Footprint:
        """What a graph that was checked takes; `settings` but for capacities and room."""

    def prepare(
        self,
        graph: Graph,
        tensors: Mapping[str, QTensor],
        settings: Settings,
        progress: Progress,
    ) -> Executor:
        """A graph that was checked, ready to run. Raises BackendError where this machine cannot."""


@cache
def file_of(package: str, kind: str, without: str) -> Any:
    """The file of a kind of op in `package`, the `ops` of a backend.

    Raises BackendError where it has none: what the backend is `without`, and what to do.
    """
    name = f"{package}.{kind}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise BackendError(without) from None


def check_context(graph: Graph, settings: Settings) -> None:
    """Raises InputError where sequences are to be longer than an op of the graph knows positions.

    Steps follow positions up to `settings.n_ctx` by pointer.
    """
    for op in graph.ops:
        limit = op.n_known_positions
        if limit is not None and settings.n_ctx > limit:
            raise InputError(
                f"n_ctx is {settings.n_ctx}, {op.label} has {limit} positions; ask for at most that"
            )


def check_batch(
    batch: Batch,
    graph: Graph,
    settings: Settings,
    hidden: NDArray[np.float32] | None = None,
) -> None:
    """Raises InputError for what a step must not follow by pointer: rows, tokens, tables, hidden.

    A table covers all positions from where the windowed ones may begin, and no two segments write
    to one page or slot.
    """
    n_rows = batch.n_rows
    passes = (batch,) if graph.decoder_start is None else batch.passes
    if n_rows == 0 or any(part.n_rows > settings.max_rows for part in passes):
        raise InputError(f"a step has 1 to {settings.max_rows} rows, got {n_rows}")
    for segment in batch.segments:
        _check_segment(segment, graph, settings)
    if len(batch.segments) > 1:
        _check_apart(batch, graph)
    first = graph.ops[0]
    wanted = (n_rows, first.dim) if isinstance(first, Receive) else None
    got = None if hidden is None else hidden.shape
    if got != wanted:
        raise InputError(f"hidden states of this part of the model: expected {wanted}, got {got}")


def _check_segment(segment: Segment, graph: Graph, settings: Settings) -> None:
    tokens, start, wanted = segment.tokens, segment.start, segment.logit_rows
    n_rows, end = len(tokens), start + len(tokens)
    if n_rows == 0 or start < 0 or end > settings.n_ctx:
        limit = f"rows within positions 0 to {settings.n_ctx - 1}"
        raise InputError(f"a segment has {limit}, got {n_rows} from {start}")
    if not _within(tokens, graph.n_vocab):
        raise InputError(f"token ids are 0 to {graph.n_vocab - 1}, got {shown(tokens.tolist())}")
    if not _within(wanted, n_rows) or (len(wanted) > 1 and (wanted[1:] <= wanted[:-1]).any()):
        raise InputError(f"logit rows rise from 0 to {n_rows - 1}, got {shown(wanted.tolist())}")
    if graph.decoder_start is not None:
        _check_encoded(segment)
    elif graph.whole_texts and start != 0:
        raise InputError(f"rows that see what follows begin at position 0, got {start}")
    if segment.types is not None:
        types = segment.types
        fit = types.dtype == np.int32 and types.shape == (n_rows,)
        if not fit or not _within(types, graph.n_types):
            expected = f"{n_rows} of int32 from 0 to {graph.n_types - 1}"
            raise InputError(f"types of tokens: expected {expected}, got {shown(types.tolist())}")
    if len(segment.scales) not in (0, graph.n_adapters):
        expected = f"a scale for each of {graph.n_adapters} adapters, or none"
        raise InputError(f"a segment has {expected}, got {len(segment.scales)}")
    if len(segment.tables) != len(graph.states):
        expected = f"a table for each of {len(graph.states)} state groups"
        raise InputError(f"a segment has {expected}, got {len(segment.tables)}")
    for table, group, capacity in zip(
        segment.tables, graph.states, settings.capacities, strict=True
    ):
        n_units = units_for(group, end)
        is_plain = table.dtype == np.int32 and table.flags.c_contiguous and len(table) >= n_units
        if not is_plain or not _within(table[first_unit(group, start) : n_units], capacity):
            what = f"positions up to {end} in {n_units} of {capacity} units, int32"
            raise InputError(f"the table of a {group.kind} group: expected {what}")


def _check_encoded(segment: Segment) -> None:
    """Raises InputError for rows that are neither all of a text that an encoder reads, which have
    no logits, nor behind one."""
    n_rows, n_encoded = len(segment.tokens), segment.n_encoded
    if n_encoded <= 0:
        raise InputError(
            "the model's decoder answers a text that its encoder has read: ask for generations; "
            "it gives nothing for rows of a text alone"
        )
    if segment.encodes and (segment.start, n_rows, len(segment.logit_rows)) != (0, n_encoded, 0):
        expected = f"all {n_encoded} rows of a text that is encoded, without logits"
        raise InputError(f"expected {expected}, got {n_rows} from {segment.start}")


def _within(numbers: NDArray[np.int32], end: int) -> bool:
    """Whether all are from 0 up to `end`: below 0 they are the largest, read without a sign."""
    return len(numbers) == 0 or int(numbers.view(np.uint32).max()) < end


def _check_apart(batch: Batch, graph: Graph) -> None:
    """Raises InputError where two segments write to one page or slot."""
    for number, group in enumerate(graph.states):
        written: list[int] = []
        for segment in batch.segments:
            table, end = segment.tables[number], segment.start + len(segment.tokens)
            written += table[first_written(group, segment.start) : units_for(group, end)].tolist()
        if len(set(written)) < len(written):
            raise InputError(f"two segments write to one unit of a {group.kind} group")


def not_finite(layer: int) -> NonFiniteError:
    """The error of a layer whose attention, or whose state, is NaN or infinite."""
    return NonFiniteError(
        f"layer {layer}: attention or a state gives values that are not finite; "
        "the weights are damaged, or too large for the type of the KV cache"
    )
