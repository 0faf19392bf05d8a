"""The choice of experts, and the order in which rows go to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.backends.reference.ops.elementwise import sigmoid
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.route import LEAST_SUM, Route


def run(step: Step, op: Route) -> Array:
    return choose(step.values[op.logits], step.weights[op.bias] if op.bias else None, op)


def choose(logits: Array, bias: NDArray[Any] | None, op: Route) -> Array:
    """The experts of each row and their weights, (n_rows, 2 * n_used)."""
    scores = _scores(logits, op)
    ranks = scores if bias is None else scores + bias
    if op.n_groups > 1:
        groups = ranks.reshape(-1, op.n_groups, op.n_experts // op.n_groups)
        two_best = np.sort(groups, axis=2)[:, :, -2:].sum(axis=2)
        left_out = np.argsort(-two_best, axis=1, kind="stable")[:, op.n_groups_used :]
        kept = groups.copy()
        np.put_along_axis(kept, left_out[:, :, None], -np.inf, axis=1)
        ranks = kept.reshape(ranks.shape)
    chosen = np.argsort(-ranks, axis=1, kind="stable")[:, : op.n_used]  # (n_rows, n_used)
    weights = np.take_along_axis(scores, chosen, axis=1)
    if op.gating == "softmax_of_chosen":
        weights = _softmax(weights)
    if op.gating == "sparsemixer":
        weights = _among_near(logits, chosen, op.threshold)
    if op.renormalize:
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), LEAST_SUM)
    return np.concatenate([chosen.astype(np.float64), weights * op.scale], axis=1)


def _scores(logits: Array, op: Route) -> Array:
    if op.gating == "softmax":
        return _softmax(logits)
    if op.gating == "sigmoid":
        return sigmoid(logits)
    if op.gating == "sqrt_softplus":
        return np.sqrt(np.logaddexp(0.0, logits))
    return logits


def _among_near(logits: Array, chosen: NDArray[np.int64], threshold: float) -> Array:
    """The share of each choice in the softmax over what is near it and was not chosen before it."""
    left, weights = logits.astype(np.float64), []
    for choice in range(chosen.shape[1]):
        best = chosen[:, choice : choice + 1]  # (n_rows, 1)
        most = np.take_along_axis(left, best, axis=1)
        is_near = most - left <= threshold * np.maximum(np.abs(logits), most)
        weights.append(np.take_along_axis(_softmax(np.where(is_near, left, -np.inf)), best, axis=1))
        np.put_along_axis(left, best, -np.inf, axis=1)
    return np.concatenate(weights, axis=1)


def _softmax(x: Array) -> Array:
    weights: Array = np.exp(x - x.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def experts_of(route: Array, n_used: int) -> NDArray[np.int64]:
    """The experts of each row, (n_rows, n_used)."""
    return route[:, :n_used].astype(np.int64)


def order_of(route: Array, n_used: int) -> NDArray[np.int64]:
    """The pair of row and choice that each routed row is, as row * n_used + choice."""
    return np.argsort(experts_of(route, n_used).ravel(), kind="stable")
