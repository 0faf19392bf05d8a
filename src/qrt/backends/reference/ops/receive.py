"""Hidden states of another part of the model."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.receive import Receive


def run(step: Step, op: Receive) -> Array:
    assert step.hidden is not None
    return step.hidden.astype(np.float64)
