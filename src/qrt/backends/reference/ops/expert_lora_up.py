"""The second product of low-rank adapters of experts, added to the routed rows."""

from __future__ import annotations

from qrt.backends.reference.ops.lora_up import products
from qrt.backends.reference.ops.route import experts_of, order_of
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.expert_lora_up import ExpertLoraUp


def run(step: Step, op: ExpertLoraUp) -> Array:
    y, t, route = (step.values[value] for value in op.reads)
    order = order_of(route, op.n_used)
    sums = t.reshape(len(t) * op.n_used, op.n_runs, -1).sum(axis=1)[order]
    experts = experts_of(route, op.n_used).ravel()[order]
    scales, weight = step.scales[order // op.n_used], step.weights[op.weight]
    out = y.copy()
    for i, expert in enumerate(experts):
        row = slice(i, i + 1)
        out[row] += products(sums[row], weight[expert], op.parts, scales[row])
    return out
