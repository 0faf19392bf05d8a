"""The memory that a graph takes on the CPU, from its file's header, and the plan behind that."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.backends.base import Footprint, Settings
from qrt.backends.cpu.recorder import scratch_sizes
from qrt.backends.cpu.states import unit_bytes
from qrt.backends.cpu.tiling import many, tier_for
from qrt.backends.cpu.variant import FORM_BYTES, form_for
from qrt.backends.cpu.weights import matrix_bytes, matrix_types, vector_bytes
from qrt.config import read_env
from qrt.formats.qtensor import QTensor
from qrt.graph.graph import Graph
from qrt.graph.lower import Plan, lower
from qrt.graph.ops.route import Route
from qrt.kernels.isa import choose
from qrt.kernels.layout import TILE_ROWS


def footprint(graph: Graph, tensors: Mapping[str, QTensor], settings: Settings) -> Footprint:
    """See `qrt.backends.base.Backend`."""
    max_rows = whole_rows(settings.max_rows)
    tile = many(tier_for(graph, choose(read_env().isa))).routed_rows
    plan = plan_of(graph, matrix_types(graph, tensors), max_rows, tile)
    scratch = scratch_sizes(graph, settings.n_ctx, max_rows)
    return Footprint(
        packed=sum(matrix_bytes(graph, tensors).values()),
        fixed=vector_bytes(graph, tensors) + plan.row_bytes * max_rows + sum(scratch.values()),
        units=tuple(unit_bytes(group, settings.kv_type) for group in graph.states),
    )


def whole_rows(max_rows: int) -> int:
    """The rows that there is memory for: whole tiles."""
    return -(-max_rows // TILE_ROWS) * TILE_ROWS


def plan_of(graph: Graph, qtypes: Mapping[str, str], max_rows: int, tile: int) -> Plan:
    """The graph lowered for steps of `max_rows`, to the forms that matrices of these types want;
    experts take their rows in tiles of up to `tile`.
    """
    routed = routed_rows(graph, max_rows, tile)
    return lower(graph, lambda weight: form_for(qtypes[weight]), FORM_BYTES, routed)


def routed_rows(graph: Graph, max_rows: int, tile: int) -> int:
    """Routed rows for each row of a step of `max_rows`, with those that fill up tiles."""
    routes = [op for op in graph.ops if isinstance(op, Route)]
    fill = [-(-op.n_experts * (tile - 1) // max_rows) for op in routes]
    return max((op.n_used + n for op, n in zip(routes, fill, strict=True)), default=1)
