"""One graph on several backends: which layers run where, and the executor of all parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence as Items
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor, Survey
from qrt.errors import InputError
from qrt.graph.batch import Batch
from qrt.runtime.checks import shown

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def backend_of_layers(layers: Mapping[str, str], default: str, n_layers: int) -> list[str]:
    """The backend of each layer, from ranges such as {"0-3": "reference", "7": "cpu"}.

    What precedes the first layer runs with it, what follows the last one too. Raises InputError for
    a range that is not in the model, or overlaps another.
    """
    backends: list[str | None] = [None] * n_layers
    for text, backend in layers.items():
        found = _RANGE.fullmatch(text)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < n_layers:
            expected = f"a layer or a range such as '0-3' within 0 to {n_layers - 1}"
            raise InputError(f"layers: expected {expected}, got {shown(text)}")
        for layer in range(first, last + 1):
            if backends[layer] is not None:
                raise InputError(f"layers: layer {layer} is in two ranges, {shown(text)} is one")
            backends[layer] = backend
    return [backend or default for backend in backends]


def runs_of(backends: Items[str]) -> list[tuple[int, str]]:
    """(first layer, backend) of each run of layers on one backend."""
    runs, first = [], 0
    for backend, run in groupby(backends):
        runs.append((first, backend))
        first += len(list(run))
    return runs


class PartsExecutor:
    """Parts of one graph, each on its own executor, run one after another.

    Hidden states are handed over at the cuts; pages and slots live where their layers do.
    """

    def __init__(self, parts: Items[Executor]) -> None:
        self.settings = parts[0].settings
        self._parts = parts

    def step(self, batch: Batch, hidden: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Runs a step on all parts; see `qrt.backends.base.Executor`."""
        first, *others = self._parts
        rows = first.step(batch, hidden)
        for part in others:
            rows = part.step(batch, rows)
        return rows

    def masked(
        self, rows: Items[NDArray[np.float32]], masks: Items[NDArray[np.uint32]]
    ) -> NDArray[np.float32]:
        """Copies of rows of logits under their masks, made where the logits are from."""
        return self._parts[-1].masked(rows, masks)

    def survey(self, rows: Items[NDArray[np.float32]], wanted: Items[int]) -> list[Survey]:
        """What a sampler needs of each row, found where the logits are from."""
        return self._parts[-1].survey(rows, wanted)

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page of a KV group in every part."""
        for part in self._parts:
            part.copy_page(group, source, target)

    def page(self, group: int, number: int) -> list[NDArray[np.uint8]]:
        """The memory of a page, or a slot, of a group in every part."""
        return [memory for part in self._parts for memory in part.page(group, number)]

    def page_digest(self) -> bytes:
        """Of all parts."""
        return b"".join(part.page_digest() for part in self._parts)

    def cancel(self) -> None:
        """Stops the step under way, and every later one, from any thread."""
        for part in self._parts:
            part.cancel()

    def placement(self) -> list[tuple[str, str]]:
        """(op, where and how it runs) of all parts, in order."""
        return [row for part in self._parts for row in part.placement()]

    def close(self) -> None:
        """Frees all parts."""
        for part in self._parts:
            part.close()
