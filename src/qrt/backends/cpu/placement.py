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

FEW_ROWS = 32
"""Up to so many rows the bus is the limit, and weights are best read as a stream."""


def few(rows: int) -> Tiling:
    """The tiling of steps whose weights are read as a stream, by tiles of `rows`."""
    return Tiling(rows, f"matmul.{{}}.{rows}")


def many(tier: Tier) -> Tiling:
    """The tiling of prefill steps of many rows."""
    rows, panels = tier.prefill
    return Tiling(ROW_TILE, f"matmul_prefill.{{}}.{rows}.{panels}", tier.tiles)


def tilings(tier: Tier) -> set[Tiling]:
    """Every tiling that steps on `tier` run with."""
    return {*map(few, tier.rows), many(tier)}


def tiling_for(tier: Tier, phase: Phase, n_rows: int) -> Tiling:
    """The tiling that a step of `n_rows` rows runs with: the widest tiles that waste no rows."""
    if phase == "prefill" and (n_rows > FEW_ROWS or tier.tiles):
        return many(tier)
    wide = [rows for rows in tier.rows if rows >= min(n_rows, ROW_TILE)]
    return few(min(wide, key=lambda rows: (-(-n_rows // rows) * rows, -rows)))


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
        kernel = kernel_of(task, qtypes, kv_type, few(1))
        rows.append((f"{type(op).__name__} {name}".strip(), f"cpu/{tier.name} {kernel}"))
    return rows
