"""Prepares a model for the CPU: kernels, packed weights, states, tapes, threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from qrt.backends.base import Choices, Settings, check_context
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.footprint import plan_of, whole_rows
from qrt.backends.cpu.guard import guard_kernels
from qrt.backends.cpu.keeping import check_room, with_sidecar
from qrt.backends.cpu.memory import reserve
from qrt.backends.cpu.ops import runner
from qrt.backends.cpu.packing import packing_kernels
from qrt.backends.cpu.paging import PAGING_KERNELS
from qrt.backends.cpu.recorder import Recorder, kernel_of, scratch_sizes
from qrt.backends.cpu.rows import ROW_KERNELS
from qrt.backends.cpu.states import reserve_states
from qrt.backends.cpu.tiling import few, many, tier_for, tilings
from qrt.backends.cpu.tuning import read_tuning
from qrt.backends.cpu.variant import Variant
from qrt.backends.cpu.weights import load_weights, matrix_types
from qrt.config import Env, cache_dir, default_threads, read_env
from qrt.errors import BackendError
from qrt.formats.qtensor import QTensor
from qrt.free_memory import free_memory
from qrt.graph.batch import Phase
from qrt.graph.graph import Graph
from qrt.graph.ops.attend_rows import AttendRows
from qrt.graph.ops.attention import Attention
from qrt.graph.ops.delta import Delta
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.kernels.isa import choose
from qrt.kernels.layout import MAX_DELTA_KEY, MAX_HEAD_DIM, MAX_ROWS_DIM
from qrt.kernels.objects import load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team
from qrt.progress import Progress

_COMPILER_BYTES = 1 << 29


def choices(env: Env, n_threads: int | None) -> Choices:
    """What `qrt tune` measured on this machine, or its defaults; `n_threads` goes first."""
    return read_tuning(env, n_threads).choices


def check(graph: Graph) -> None:
    """Raises BackendError where an op of the graph cannot be run here."""
    for op in graph.ops:
        runner(op)
        if isinstance(op, Attention | AttendRows):
            most = MAX_HEAD_DIM if isinstance(op, Attention) else MAX_ROWS_DIM
            if max(op.k_width, op.v_width) > most:
                limit = f"the CPU backend attends over at most {most}; use backend='reference'"
                raise BackendError(f"heads have {max(op.k_width, op.v_width)} dimensions, {limit}")
        if isinstance(op, Delta) and op.k_dim > MAX_DELTA_KEY:
            limit = f"the CPU backend runs at most {MAX_DELTA_KEY}; use backend='reference'"
            raise BackendError(f"keys of the delta rule have {op.k_dim} channels, {limit}")


def prepare(
    graph: Graph, tensors: Mapping[str, QTensor], settings: Settings, progress: Progress
) -> CpuExecutor:
    """Compiles or loads the kernels, packs the weights, records the tapes.

    Raises BackendError where this CPU cannot run the tier asked for, where kernels or weights
    cannot be kept, or where memory does not suffice; InputError where `check_context` does.
    """
    env = read_env()
    tier = tier_for(graph, choose(env.isa))
    check_context(graph, settings)
    check_room(graph, tensors, settings, env)
    qtypes = matrix_types(graph, tensors)
    max_rows = whole_rows(settings.max_rows)
    plan = plan_of(graph, qtypes, max_rows, many(tier).routed_rows)
    variant = Variant(qtypes, settings.kv_type, few(1))
    needed = {
        kernel_of(task, replace(variant, tiling=tiling))
        for task in plan.tasks
        for tiling in tilings(tier)
    }
    paging = PAGING_KERNELS if settings.room is not None else ()
    always = (*TEAM_KERNELS, *ROW_KERNELS, "fetch", *guard_kernels())
    names = sorted({*always, *packing_kernels(qtypes.values()), *paging, *needed})
    library = load_kernels(names, tier, cache_dir(env), n_compilers, progress)
    with ExitStack() as undo:
        team = Team(settings.n_threads, library)
        undo.callback(team.close)
        load = partial(load_weights, graph, tensors, library, team, progress)
        weights, mapped = with_sidecar(graph, settings, env, library, team, progress, load)
        if mapped is not None:
            undo.callback(mapped.close)
        n_decoding = settings.threads_of("decode")
        decoding = team
        if n_decoding != settings.n_threads:
            decoding = Team(n_decoding, library)
            undo.callback(decoding.close)
        recorder = Recorder(
            graph,
            plan,
            weights,
            reserve_states(graph.states, settings.capacities, settings.kv_type),
            variant,
            reserve(plan.row_bytes * max_rows, huge=True),
            {
                name: reserve(n_bytes)
                for name, n_bytes in scratch_sizes(graph, settings.n_ctx, max_rows).items()
            },
            max_rows,
            rope_tables(op.spec for op in graph.ops if isinstance(op, Rope)),
            library,
            None if mapped is None else mapped.staging,
            None if mapped is None else mapped.paged,
        )
        teams: dict[Phase, Team] = {"prefill": team, "decode": decoding}
        executor = CpuExecutor(settings, tier, recorder, teams, mapped)
        undo.pop_all()
    return executor


def n_compilers() -> int:
    """As many compilers at a time as there are CPUs, and memory for."""
    free = free_memory().n_bytes
    fit = default_threads() if free is None else free // _COMPILER_BYTES
    return max(1, min(default_threads(), fit))


def rope_tables(specs: Iterable[RopeSpec]) -> dict[RopeSpec, int]:
    """For every different RopeSpec the bytes per row of the tables before its own."""
    offsets: dict[RopeSpec, int] = {}
    at = 0
    for spec in dict.fromkeys(specs):
        offsets[spec] = at
        at += 4 * spec.dim
    return offsets
