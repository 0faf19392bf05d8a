"""Which kernel runs each op of a model; known from the file's header, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.backends.cpu.recorder import kernel_of
from qrt.backends.cpu.tiling import few
from qrt.backends.cpu.variant import FORM_BYTES, Variant, form_for
from qrt.backends.cpu.weights import matrix_types
from qrt.config import read_env
from qrt.formats.qtensor import QTensor
from qrt.graph.graph import Graph
from qrt.graph.lower import Plan, lower
from qrt.kernels.isa import Tier, choose


def plan_placement(
    graph: Graph, tensors: Mapping[str, QTensor], kv_type: str
) -> list[tuple[str, str]]:
    """`placement` of a model that is not loaded. Raises BackendError for a tier that cannot run."""
    tier = choose(read_env().isa)
    qtypes = matrix_types(graph, tensors)
    plan = lower(graph, lambda weight: form_for(qtypes[weight]), FORM_BYTES)
    return placement(plan, Variant(qtypes, kv_type, few(1)), tier)


def placement(plan: Plan, variant: Variant, tier: Tier) -> list[tuple[str, str]]:
    """(op, tier and kernel it decodes with), in order."""
    return [
        (
            f"{type(task.op).__name__} {task.op.label}",
            f"cpu/{tier.name} {kernel_of(task, variant)}",
        )
        for task in plan.tasks
    ]
