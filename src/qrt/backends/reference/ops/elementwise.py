"""A function of each value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.elementwise import Elementwise


def run(step: Step, op: Elementwise) -> Array:
    x, p = step.values[op.x], op.parameter
    if op.function in ACTIVATIONS:
        return ACTIVATIONS[op.function](x)
    if op.function == "softcap":
        return p * np.tanh(x / p)
    if op.function == "sigmoid_decay":
        return np.exp(-p * sigmoid(x))
    return x * p if op.function == "scale" else np.clip(x, -p, p)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written with tanh so that nothing overflows"""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def silu(x: Array) -> Array:
    """x * sigmoid(x)"""
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    """The tanh form of GELU (Hendrycks and Gimpel 2016)"""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x: Array) -> Array:
    """x times the standard normal distribution function"""
    erf: Array = np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2.0))
    return 0.5 * x * (1.0 + erf)


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def relu2(x: Array) -> Array:
    """The square of relu (So et al. 2021)"""
    return relu(x) ** 2


def decay(x: Array) -> Array:
    """exp(-exp(x)), what RWKV-6 leaves of a state"""
    return np.exp(-np.exp(x))


def linear(x: Array) -> Array:
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": linear,
    "silu": silu,
    "gelu": gelu,
    "gelu_erf": gelu_erf,
    "relu": relu,
    "relu2": relu2,
    "sigmoid": sigmoid,
    "decay": decay,
}
