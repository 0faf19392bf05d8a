"""Gated activation (Shazeer 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.glu import Glu


def run(step: Step, op: Glu) -> Array:
    return ACTIVATIONS[op.act](step.values[op.gate]) * step.values[op.up]


def silu(x: Array) -> Array:
    """x * sigmoid(x), written with tanh so that nothing overflows"""
    return x * 0.5 * (1.0 + np.tanh(0.5 * x))


def gelu(x: Array) -> Array:
    """The tanh form of GELU (Hendrycks and Gimpel 2016)"""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"silu": silu, "gelu": gelu}
