"""Runs the steps of a model on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, Settings, check_batch, not_finite
from qrt.backends.cpu.memory import address
from qrt.backends.cpu.placement import placement
from qrt.backends.cpu.recorder import Recorder
from qrt.backends.cpu.tiling import few, tiling_for, tilings
from qrt.graph.batch import Batch, Phase, phase_of
from qrt.kernels.isa import Tier
from qrt.kernels.layout import SCRATCH, STEP
from qrt.kernels.team import Team, aligned


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
        self._output = np.empty(0, np.float32)
        self._frequencies = [(spec, np.array(spec.inv_freq)) for spec in recorder.rope_tables]
        self._cancelled = False
        self._pid = os.getpid()

    def _set(self, field: str, value: int) -> None:
        self._words[getattr(STEP, field) // 8] = value

    def step(self, batch: Batch, hidden: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Runs one step; see `qrt.backends.base.Executor`."""
        recorder = self.recorder
        graph = recorder.graph
        check_batch(batch, graph, self.settings, hidden)
        n_rows, n_logits = batch.n_rows, batch.n_logits
        n_out = n_logits if recorder.plan.tasks[-1].of_logits else n_rows
        width = graph.widths[graph.output]
        output = recorder.kept_output()
        if output is None:
            if self._output.size < n_out * width:
                self._output = np.empty(n_out * width, np.float32)
            output = self._output
        tokens, positions, logit_rows = _rows(batch)
        tables, row_tables = _tables(batch)
        rope = self._rope(positions)
        if hidden is not None:
            hidden = np.ascontiguousarray(hidden, np.float32)
        for field, value in (
            ("cancel", 0),
            ("fault", 0),
            ("n_rows", n_rows),
            ("n_logits", n_logits),
            ("tokens", address(tokens)),
            ("positions", address(positions)),
            ("tables", address(tables)),
            ("logit_rows", address(logit_rows)),
            ("hidden", 0 if hidden is None else address(hidden)),
            ("output", address(output)),
            ("rope", address(rope)),
            ("scratch", address(self._scratch)),
        ):
            self._set(field, value)
        if self._cancelled:  # set before or after the word above was cleared, it is seen
            raise Cancelled
        if self._pid != os.getpid():  # another thread of the parent may have been in a step
            recorder.clear_shared()
            self._pid = os.getpid()
        phase = phase_of(n_rows)
        tape = self._tapes[tiling_for(self.tier, n_rows)].records
        self.walks[phase](tape, address(self._step), interruptible=phase == "prefill")
        del row_tables
        if self._words[STEP.cancel // 8]:
            raise Cancelled
        if fault := int(self._words[STEP.fault // 8]):
            raise not_finite(fault - 1)
        return output[: n_out * width].reshape(n_out, width)

    def _rope(self, positions: NDArray[np.int32]) -> NDArray[np.float32]:
        """cos and sin of every spec, row and pair: (n_specs, n_rows, 2, rope_dim / 2) float32."""
        parts = []
        for spec, inv_freq in self._frequencies:
            angles = positions[:, None] * inv_freq  # (n_rows, rope_dim / 2)
            both = np.stack([np.cos(angles), np.sin(angles)], axis=1) * spec.mscale
            parts.append(both.astype(np.float32).ravel())
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page of a KV group, of all its layers, over another."""
        pages = self.recorder.states.memory[group]
        pages[target] = pages[source]

    def cancel(self) -> None:
        """Stops the step under way, and every later one, from any thread."""
        self._cancelled = True
        self._set("cancel", 1)

    def placement(self) -> list[tuple[str, str]]:
        """(op, kernel) in order."""
        variant = replace(self.recorder.variant, tiling=few(1))
        return placement(self.recorder.plan, variant, self.tier)

    def close(self) -> None:
        """Ends the threads and lets go of weights and pages."""
        for team in set(self._teams.values()):
            team.close()
        del self.recorder, self._tapes


def _rows(
    batch: Batch,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Tokens (n_rows,), positions (n_rows,) and the rows that give logits (n_logits,)."""
    tokens, positions, logit_rows, n_before = [], [], [], 0
    for segment in batch.segments:
        n_rows = len(segment.tokens)
        tokens.append(segment.tokens)
        positions.append(np.arange(segment.start, segment.start + n_rows, dtype=np.int32))
        logit_rows.append(segment.logit_rows + n_before)
        n_before += n_rows
    one, two, three = (
        np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts), np.int32)
        for parts in (tokens, positions, logit_rows)
    )
    return one, two, three


def _tables(batch: Batch) -> tuple[NDArray[np.int64], list[NDArray[np.generic]]]:
    """For each state group where the addresses of its rows' tables are; what must stay alive."""
    kept: list[NDArray[np.generic]] = []
    groups = []
    n_rows = [len(segment.tokens) for segment in batch.segments]
    for tables in zip(*(segment.tables for segment in batch.segments), strict=True):
        own = [np.ascontiguousarray(table, np.int32) for table in tables]
        rows = np.repeat(np.array([address(table) for table in own], np.int64), n_rows)
        kept += [*own, rows]
        groups.append(address(rows))
    return np.array(groups, np.int64), kept
