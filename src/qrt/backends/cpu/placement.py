"""Which kernel runs each op of a model; known from the file's header, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.backends.cpu.recorder import FORM_BYTES, Tiling, form_for, kernel_of
from qrt.backends.cpu.weights import matrix_names
from qrt.config import read_env
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import Phase
from qrt.graph.ir import Graph, Linear
from qrt.graph.lower import Plan, lower
from qrt.kernels.isa import Tier, choose
from qrt.kernels.layout import ROW_TILE

ONE, TWO, FEW = (Tiling(n, f"matmul.{{}}.{n}") for n in (1, 2, ROW_TILE))

FEW_ROWS = 32
"""Up to so many rows the bus is the limit, and weights are best read as a stream."""


def many(tier: Tier) -> Tiling:
    """The tiling of prefill steps of many rows."""
    return Tiling(ROW_TILE, f"matmul_prefill.{{}}.{ROW_TILE}.{tier.panels}", tier.tiles)


def tilings(tier: Tier) -> set[Tiling]:
    """Every tiling that steps on `tier` run with."""
    return {ONE, TWO, FEW, many(tier)}


def tiling_for(tier: Tier, phase: Phase, n_rows: int) -> Tiling:
    """The tiling that a step of `n_rows` rows runs with."""
    if phase == "prefill" and (n_rows > FEW_ROWS or tier.tiles):
        return many(tier)
    return next((tiling for tiling in (ONE, TWO) if n_rows <= tiling.rows), FEW)


def plan_placement(
    graph: Graph, tensors: Mapping[str, QTensor], kv_type: str
) -> list[tuple[str, str]]:
    """`placement` of a model that is not loaded. Raises BackendError for a tier that cannot run."""
    tier = choose(read_env().isa)
    qtypes = {name: tensors[name].qtype.name for name in matrix_names(graph)}
    plan = lower(graph, lambda weight: form_for(qtypes[weight]), FORM_BYTES)
    return placement(plan, qtypes, kv_type, tier)


def placement(
    plan: Plan, qtypes: dict[str, str], kv_type: str, tier: Tier
) -> list[tuple[str, str]]:
    """(op, tier and kernel it decodes with), in order."""
    rows = []
    for task in plan.tasks:
        op = task.op
        name = op.weight if isinstance(op, Linear) else getattr(op, "out", "")
        kernel = kernel_of(task, qtypes, kv_type, ONE)
        rows.append((f"{type(op).__name__} {name}".strip(), f"cpu/{tier.name} {kernel}"))
    return rows
