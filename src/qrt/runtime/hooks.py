"""Functions of a caller's that take part in a generation: their types, checks and calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError
from qrt.runtime.checks import shown

Logits = NDArray[np.float32]

LogitsProcessor = Callable[[list[int], Logits], Logits]
"""(ids of prompt and answer so far, logits (n_vocab,) float32) -> logits to sample from."""

Stopping = Callable[[list[int], str], bool]
"""(ids of prompt and answer so far, text of the answer so far) -> whether the answer ends here."""

_MAX_HOOKS = 64
_Result = TypeVar("_Result")


def check_hooks(name: str, hooks: Any) -> tuple[Callable[..., Any], ...]:
    """`hooks` as a tuple of functions. Raises InputError."""
    if not isinstance(hooks, Sequence) or not all(callable(hook) for hook in hooks):
        raise InputError(f"{name} must be a list of functions, got {shown(hooks)}")
    if len(hooks) > _MAX_HOOKS:
        raise InputError(f"{name} holds {len(hooks)} functions, at most {_MAX_HOOKS} may be")
    return tuple(hooks)


def processed(
    processors: Sequence[LogitsProcessor], history: Sequence[int], logits: Logits
) -> Logits:
    """Logits (n_vocab,) float32 after each processor in turn, in an array of their own.

    Raises InputError for a result that is no such logits, and what a processor raises.
    """
    changed = logits.copy()
    for i, processor in enumerate(processors):
        result = call(processor, list(history), changed)
        changed = _checked(f"logits_processors[{i}]", result, logits.shape)
    return changed


def stops(criteria: Sequence[Stopping], history: Sequence[int], text: str) -> bool:
    """Whether any of the criteria ends the answer. Raises what one raises."""
    return any(bool(call(criterion, list(history), text)) for criterion in criteria)


def call(hook: Callable[..., _Result], *arguments: object) -> _Result:
    """What a hook returns. Raises what it raises."""
    try:
        return hook(*arguments)
    except StopIteration as error:  # which would end the stream of whoever reads
        raise RuntimeError(f"{shown(hook)} raised StopIteration") from error


def _checked(name: str, result: object, shape: tuple[int, ...]) -> Logits:
    array = result if isinstance(result, np.ndarray) else None
    if array is None or array.dtype.kind not in "fiu" or array.shape != shape:
        raise InputError(
            f"{name} must return logits, an array of {shape[0]} numbers, got {shown(result)}"
        )
    with np.errstate(over="ignore"):
        changed = array.astype(np.float32)
    if not changed.max() < np.inf:
        raise InputError(f"{name} returned logits that hold NaN or inf; -inf forbids a token")
    return changed
