"""xIELU (Huang and Schlag 2024)."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.xielu import Xielu


def run(step: Step, op: Xielu) -> Array:
    x = step.values[op.x]
    positive = op.alpha_p * x**2
    negative = op.alpha_n * (np.expm1(np.minimum(x, op.eps)) - x)
    return np.where(x > 0, positive, negative) + op.beta * x
