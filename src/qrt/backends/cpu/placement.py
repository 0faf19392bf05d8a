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

DECODE_TILES = (1, 4)
"""Rows of activations that a decode matmul takes at once."""


def tiles(tier: Tier) -> set[int]:
    """Every tile that steps on `tier` run with."""
    return {*DECODE_TILES, tier.prefill_tile}


def tile_for(tier: Tier, phase: Phase, n_rows: int) -> int:
    """The tile that a step of `n_rows` rows runs with: the first that holds them, else the last."""
    if phase == "prefill":
        return tier.prefill_tile
    return next((tile for tile in DECODE_TILES if n_rows <= tile), DECODE_TILES[-1])


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
        kernel = kernel_of(task, qtypes, kv_type, tile_for(tier, "decode", 1))
        rows.append((f"{type(op).__name__} {name}".strip(), f"cpu/{tier.name} {kernel}"))
    return rows
