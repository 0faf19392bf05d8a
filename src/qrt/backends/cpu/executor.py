"""Prepares a model for the CPU and runs its steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, Progress, Settings
from qrt.backends.cpu.kv import reserve_pages
from qrt.backends.cpu.memory import address, reserve
from qrt.backends.cpu.placement import placement, tiling_for, tilings
from qrt.backends.cpu.recorder import (
    FORM_BYTES,
    Recorder,
    form_for,
    kernel_of,
    reserve_partials,
    reserve_wide,
)
from qrt.backends.cpu.sidecar import with_sidecar
from qrt.backends.cpu.weights import load_weights, matrix_names
from qrt.config import cache_dir, default_threads, read_env
from qrt.errors import BackendError
from qrt.formats.qtensor import QTensor
from qrt.graph.batch import PAGE_LEN, Batch, Phase
from qrt.graph.ir import Attention, Graph, Rope, RopeSpec
from qrt.graph.lower import lower
from qrt.kernels.isa import Tier, choose
from qrt.kernels.layout import BF16_TILE, MAX_HEAD_DIM, PAGE, ROW_TILE, SCRATCH, STEP
from qrt.kernels.objects import load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team, aligned

assert PAGE == PAGE_LEN
assert BF16_TILE % ROW_TILE == 0


def prepare(
    graph: Graph, tensors: Mapping[str, QTensor], settings: Settings, progress: Progress
) -> CpuExecutor:
    """Compiles or loads the kernels, packs the weights, records the tapes.

    Raises BackendError where this CPU cannot run the tier asked for or the model's heads, where
    kernels cannot be kept, or where memory does not suffice.
    """
    env = read_env()
    tier = choose(env.isa)
    for op in graph.ops:
        if isinstance(op, Attention) and op.head_dim > MAX_HEAD_DIM:
            limit = f"the CPU backend attends over at most {MAX_HEAD_DIM}; use backend='reference'"
            raise BackendError(f"heads have {op.head_dim} dimensions, {limit}")
    qtypes = {name: tensors[name].qtype.name for name in matrix_names(graph)}
    plan = lower(graph, lambda weight: form_for(qtypes[weight]), FORM_BYTES)
    assert plan.tasks[-1].of_logits, "a graph ends on the rows whose logits were asked for"
    needed = {
        kernel_of(task, qtypes, settings.kv_type, tiling)
        for task in plan.tasks
        for tiling in tilings(tier)
    }
    names = sorted({*TEAM_KERNELS, "fetch", "pack", *needed})
    library = load_kernels(names, tier, cache_dir(env), default_threads(), progress)
    team = Team(settings.n_threads, library)
    load = partial(load_weights, graph, tensors, library, team, progress)
    weights = with_sidecar(settings.file, graph, env, library, team, load)
    n_decoding = settings.threads_of("decode")
    decoding = team if n_decoding == settings.n_threads else Team(n_decoding, library)
    max_rows = -(-settings.max_rows // BF16_TILE) * BF16_TILE
    specs = [op.spec for op in graph.ops if isinstance(op, Rope)]
    recorder = Recorder(
        graph,
        plan,
        weights,
        reserve_pages(graph, settings.n_pages, settings.kv_type),
        settings.kv_type,
        reserve(plan.row_bytes * max_rows),
        reserve_partials(graph, settings.n_pages * PAGE),
        reserve_wide(weights, settings.n_threads if tier.tiles else 0),
        max_rows,
        rope_tables(specs),
        library,
    )
    return CpuExecutor(settings, tier, recorder, {"prefill": team, "decode": decoding})


def rope_tables(specs: list[RopeSpec]) -> dict[object, int]:
    """For every different RopeSpec the bytes per row of the tables before its own."""
    offsets: dict[object, int] = {}
    at = 0
    for spec in dict.fromkeys(specs):
        offsets[spec] = at
        at += 4 * spec.dim
    return offsets


class Walk(Protocol):
    """`Team.run`, or what stands in for it."""

    def __call__(
        self, tape: NDArray[np.int64], step: int, *, interruptible: bool = False
    ) -> None: ...


class CpuExecutor:
    """A model ready to run; see `qrt.backends.base.Executor`."""

    def __init__(
        self, settings: Settings, tier: Tier, recorder: Recorder, teams: Mapping[Phase, Team]
    ) -> None:
        self.settings = settings
        self.tier = tier
        self.recorder = recorder
        self.walks: dict[Phase, Walk] = {phase: team.run for phase, team in teams.items()}
        """What walks the tapes of a phase; `qrt.backends.cpu.profile` puts a clock in its place."""
        self._teams = teams
        self._tapes = {tiling: recorder.tape(tiling) for tiling in tilings(tier)}
        self._scratch = aligned(SCRATCH * max(team.n_threads for team in teams.values()))
        self._step = aligned(STEP.size)
        self._words = self._step.view(np.int64)
        self._logits = np.empty(0, np.float32)

    def _set(self, field: str, value: int) -> None:
        self._words[getattr(STEP, field) // 8] = value

    def step(self, batch: Batch, phase: Phase) -> NDArray[np.float32]:
        """Runs one step; logits (n_logits, n_vocab) float32, valid until the next step."""
        assert len(batch.tokens) <= self.recorder.max_rows
        n_logits, n_vocab = len(batch.logit_rows), self.recorder.graph.n_vocab
        if self._logits.size < n_logits * n_vocab:
            self._logits = np.empty(n_logits * n_vocab, np.float32)
        tokens, positions, logit_rows = (
            np.ascontiguousarray(a, np.int32)
            for a in (batch.tokens, batch.positions, batch.logit_rows)
        )
        page_tables = [np.ascontiguousarray(t, np.int32) for t in batch.page_tables]
        tables = np.array([address(t) for t in page_tables], np.int64)[batch.table_of]
        rope = self._rope(batch.positions)
        for field, value in (
            ("cancel", 0),
            ("n_rows", len(tokens)),
            ("n_logits", n_logits),
            ("tokens", address(tokens)),
            ("positions", address(positions)),
            ("tables", address(tables)),
            ("logit_rows", address(logit_rows)),
            ("logits", address(self._logits)),
            ("rope", address(rope)),
            ("scratch", address(self._scratch)),
        ):
            self._set(field, value)
        tape = self._tapes[tiling_for(self.tier, phase, len(tokens))].records
        self.walks[phase](tape, address(self._step), interruptible=phase == "prefill")
        if self._words[STEP.cancel // 8]:
            raise Cancelled
        return self._logits[: n_logits * n_vocab].reshape(n_logits, n_vocab)

    def _rope(self, positions: NDArray[np.int32]) -> NDArray[np.float32]:
        """cos and sin of every spec, row and pair: (n_specs, n_rows, 2, rope_dim / 2) float32."""
        parts = []
        for spec in self.recorder.rope_tables:
            assert isinstance(spec, RopeSpec)
            angles = positions[:, None] * np.array(spec.inv_freq)  # (n_rows, rope_dim / 2)
            both = np.stack([np.cos(angles), np.sin(angles)], axis=1) * spec.mscale
            parts.append(both.astype(np.float32).ravel())
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def cancel(self) -> None:
        """Stops the step under way, from any thread."""
        self._set("cancel", 1)

    def placement(self) -> list[tuple[str, str]]:
        """(op, kernel) in order."""
        recorder = self.recorder
        qtypes = {name: weight.qtype for name, weight in recorder.weights.items()}
        return placement(recorder.plan, qtypes, recorder.kv_type, self.tier)

    def close(self) -> None:
        """Ends the threads and lets go of weights and pages."""
        for team in set(self._teams.values()):
            team.close()
        del self.recorder, self._tapes
