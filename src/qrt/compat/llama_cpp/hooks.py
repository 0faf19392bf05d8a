"""Logits processors and stopping criteria as llama-cpp-python calls them: with arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.runtime.hooks import Logits, LogitsProcessor, Stopping

_Ids = NDArray[np.intc]
_Processor = Callable[[_Ids, Logits], Logits]
_Criterion = Callable[[_Ids, Logits], bool]


class LogitsProcessorList(list[_Processor]):
    """Processors that are called in turn with ids (n,) intc and logits (n_vocab,) float32."""

    def __call__(self, input_ids: _Ids, scores: Logits) -> Logits:
        """The logits after each of them."""
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(list[_Criterion]):
    """Criteria of which one is enough, called with ids (n,) intc and logits (n_vocab,) float32."""

    def __call__(self, input_ids: _Ids, logits: Logits) -> bool:
        """Whether one of them is true; each is asked."""
        return any([criterion(input_ids, logits) for criterion in self])


def hook_options(processor: _Processor | None, criterion: _Criterion | None) -> dict[str, Any]:
    """The options of a generation that these stand for."""
    processors: list[LogitsProcessor] = []
    criteria: list[Stopping] = []
    if criterion is not None:
        watch = _Watch(criterion)
        processors.append(watch.see)
        criteria.append(watch.stops)
    if processor is not None:
        processors.append(lambda ids, logits: processor(np.array(ids, np.intc), logits))
    return {"logits_processors": processors, "stopping": criteria}


class _Watch:
    """Keeps the logits that a criterion is shown beside the ids."""

    def __init__(self, criterion: _Criterion) -> None:
        self._criterion = criterion
        self._logits: Logits = np.zeros(0, np.float32)

    def see(self, _ids: list[int], logits: Logits) -> Logits:
        self._logits = logits.copy()
        return logits

    def stops(self, ids: list[int], _text: str) -> bool:
        return bool(self._criterion(np.array(ids, np.intc), self._logits))
