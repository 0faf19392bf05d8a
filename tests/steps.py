"""Models prepared on a backend, and steps of them: segments, batches, the logits of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tiny_encoders import N_ENCODED

from qrt.arch import build_graph
from qrt.backends.base import Executor, Settings
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import NO_PAGE, Batch, Segment
from qrt.graph.graph import Graph
from qrt.graph.state import KV, StateGroup
from qrt.progress import no_progress

Logits = NDArray[np.float32]
Model = tuple[Graph, Mapping[str, QTensor]]

TABLE = np.array([2, 0, 3, 1, 5, 4], np.int32)
ANY_KV = KV((), 0, 0, 0)
SETTINGS = Settings(2, (8,), 150, "f16", 384)


def open_model(path: Path, changes: Mapping[str, object] | None = None) -> Model:
    """The graph of a file, whose metadata may be changed, and its tensors."""
    file = open_gguf(path)
    return build_graph({**file.metadata, **(changes or {})}, file.tensors, path.name), file.tensors


def prepare(backend: ModuleType, model: Path | Model, **changes: Any) -> Any:
    """A file or a graph on a backend, with SETTINGS but for `changes`."""
    graph, tensors = open_model(model) if isinstance(model, Path) else model
    backend.check(graph)
    return backend.prepare(graph, tensors, replace(SETTINGS, **changes), no_progress)


def segment(
    tokens: ArrayLike,
    start: int = 0,
    table: ArrayLike = TABLE,
    logit_rows: Iterable[int] | None = None,
) -> Segment:
    """Rows of a sequence in one group of pages; without `logit_rows` all of them give logits."""
    rows = np.array(tokens, np.int32)
    wanted = range(len(rows)) if logit_rows is None else logit_rows
    return Segment(rows, start, (np.array(table, np.int32),), np.array([*wanted], np.int32))


def step(model: Executor, *segments: Segment) -> Logits:
    """The logits of one step, kept beyond the next."""
    return model.step(Batch(segments)).copy()


def logits_of(
    backend: ModuleType,
    model: Model,
    tokens: ArrayLike,
    chunk: int = 1 << 20,
    n_encoded: int = N_ENCODED,
    **changes: Any,
) -> Logits:
    """Logits after every token of a prompt in chunks, whatever groups of pages the model has; one
    that has an encoder reads the first `n_encoded` of them."""
    states = model[0].states
    executor = prepare(backend, model, capacities=(8,) * len(states), **changes)
    if model[0].decoder_start is not None:
        result = answered(executor, tokens, chunk, n_encoded)
    else:
        result = in_chunks(executor, tokens, chunk, states=states)
    executor.close()
    return result


def answered(model: Executor, tokens: ArrayLike, chunk: int, n_encoded: int = N_ENCODED) -> Logits:
    """Logits after every token behind the first, which the model's encoder reads."""
    text, rest = np.split(np.array(tokens), [n_encoded])
    assert not step(model, replace(segment(text, logit_rows=()), n_encoded=n_encoded)).size
    parts = [segment(rest[at : at + chunk], n_encoded + at) for at in range(0, len(rest), chunk)]
    return np.concatenate([step(model, replace(part, n_encoded=n_encoded)) for part in parts])


def in_chunks(
    model: Executor,
    tokens: ArrayLike,
    chunk: int,
    table: ArrayLike = TABLE,
    states: tuple[StateGroup, ...] = (ANY_KV,),
) -> Logits:
    """Logits after every token of a prompt that is run in chunks; all groups of pages have one
    table, groups of slots write to 0 and 1 in turn.
    """
    whole, found = np.array(tokens, np.int32), []
    for number, at in enumerate(range(0, len(whole), chunk)):
        rows = segment(whole[at : at + chunk], at, table)
        slots = np.int32([(number + 1) % 2 if number else NO_PAGE, number % 2])
        tables = tuple(rows.tables[0] if isinstance(one, KV) else slots for one in states)
        found.append(step(model, replace(rows, tables=tables)))
    return np.concatenate(found)
