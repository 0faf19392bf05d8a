"""Which kernel runs each op of a model; known from the file's header, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.backends.cpu.recorder import FORM_BYTES, form_for, kernel_of
from qrt.backends.cpu.weights import matrix_names
from qrt.config import read_env
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import Phase
from qrt.graph.ir import Graph, Linear
from qrt.graph.lower import Plan, lower
from qrt.kernels.isa import Tier, choose
from qrt.kernels.layout import ROW_TILE

TILES: dict[Phase, tuple[int, ...]] = {"prefill": (ROW_TILE,), "decode": (1, 4)}
"""Rows of activations that a matmul takes at once: the first that holds all rows, else the last."""


def tile_for(phase: Phase, n_rows: int) -> int:
    """The tile that a step of `n_rows` rows runs with."""
    return next((tile for tile in TILES[phase] if n_rows <= tile), TILES[phase][-1])


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
        kernel = kernel_of(task, qtypes, kv_type, tile_for("decode", 1))
        rows.append((f"{type(op).__name__} {name}".strip(), f"cpu/{tier.name} {kernel}"))
    return rows
