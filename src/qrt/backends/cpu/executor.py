"""Runs the steps of a model on the CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, Settings, Survey, check_batch, not_finite
from qrt.backends.cpu.mapped import Mapped
from qrt.backends.cpu.placement import placement
from qrt.backends.cpu.recorder import Recorder, Tape
from qrt.backends.cpu.rows import LogitRows
from qrt.backends.cpu.step import StepMemory
from qrt.backends.cpu.tiling import Tiling, few, tiling_for
from qrt.graph.batch import FEW_ROWS, Batch, Phase, phase_of
from qrt.graph.op import ENCODED
from qrt.kernels.entries import source_digest
from qrt.kernels.isa import Tier
from qrt.kernels.team import Team


class Walk(Protocol):
    """`Team.run`, or what stands in for it."""

    def __call__(
        self, tape: NDArray[np.int64], step: int, *, interruptible: bool = False
    ) -> None: ...


class CpuExecutor:
    """A model ready to run; see `qrt.backends.base.Executor`."""

    def __init__(
        self,
        settings: Settings,
        tier: Tier,
        recorder: Recorder,
        teams: Mapping[Phase, Team],
        mapped: Mapped | None = None,
    ) -> None:
        """`mapped` is the file that weights are mapped from."""
        self.settings = settings
        self.tier = tier
        self.recorder = recorder
        self.walks: dict[Phase, Walk] = {phase: team.run for phase, team in teams.items()}
        """What walks the tapes of a phase; `qrt.backends.cpu.profile` puts a clock in its place."""
        self._teams = teams
        self._mapped = mapped
        self._passes = _of_passes(recorder)
        self._tapes: list[dict[Tiling, Tape]] = [{} for _ in self._passes]
        self._tilings = [tiling_for(tier, n_rows) for n_rows in range(1, FEW_ROWS + 2)]
        graph = recorder.graph
        n_threads = max(team.n_threads for team in teams.values())
        self._memory = StepMemory(
            len(graph.states),
            settings.max_rows,
            n_threads,
            recorder.rope_tables,
            recorder.kept_output(),
            graph.n_adapters,
        )
        self._width = graph.widths[graph.output]
        self._rows = LogitRows(
            recorder.library, teams["decode"], self._memory.address, graph.n_vocab
        )
        self._gives_logits = recorder.plan.tasks[-1].of_logits
        self._cancelled = self._closed = False
        self._pid = os.getpid()

    def step(self, batch: Batch, hidden: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Runs one step; see `qrt.backends.base.Executor`.

        Raises ModelError where `Mapped.check` does.
        """
        check_batch(batch, self.recorder.graph, self.settings, hidden)
        n_rows = batch.n_logits if self._gives_logits else batch.n_rows
        output = self._memory.output(n_rows, self._width)
        parts = (batch,) if len(self._passes) == 1 else batch.passes
        for number, part in enumerate(parts):
            if part.segments:
                self._run(number, part, hidden)
        return output

    def _run(self, number: int, batch: Batch, hidden: NDArray[np.float32] | None) -> None:
        """Runs the rows of a pass."""
        memory, n_rows = self._memory, batch.n_rows
        memory.fill(batch, hidden)
        memory.clear()
        if self._cancelled:  # set before or after the record was cleared, it is seen
            raise Cancelled
        if self._pid != os.getpid():  # another thread of the parent may have been in a step
            self.recorder.clear_shared()
            self._pid = os.getpid()
        phase = phase_of(n_rows)
        tape = self._tape(number, n_rows)
        self.walks[phase](tape, memory.address, interruptible=phase == "prefill")
        if memory.is_cancelled:
            raise Cancelled
        if self._mapped is not None:
            self._mapped.check()
        if memory.fault:
            raise not_finite(memory.fault - 1)

    def _tape(self, number: int, n_rows: int) -> NDArray[np.int64]:
        """The records of a pass over so many rows, made when the first such step comes."""
        tiling = self._tilings[min(n_rows, FEW_ROWS + 1) - 1]
        tape = self._tapes[number].get(tiling)
        if tape is None:
            tape = self._tapes[number][tiling] = self._passes[number].tape(tiling)
        return tape.records

    def masked(
        self, rows: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.uint32]]
    ) -> NDArray[np.float32]:
        """Copies of rows of logits, -inf where the row's mask says so."""
        return self._rows.masked(rows, masks)

    def survey(self, rows: Sequence[NDArray[np.float32]], wanted: Sequence[int]) -> list[Survey]:
        """What a sampler needs of each row."""
        return self._rows.survey(rows, wanted)

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page of a KV group, of all its layers, over another."""
        pages = self.recorder.states.memory[group]
        pages[:, target] = pages[:, source]

    def page(self, group: int, number: int) -> list[NDArray[np.uint8]]:
        """The memory of a page, or a slot, of a group."""
        return [layer[number] for layer in self.recorder.states.memory[group]]

    def page_digest(self) -> bytes:
        """Of the kernels."""
        return hashlib.sha256(self.tier.name.encode() + source_digest()).digest()

    def cancel(self) -> None:
        """Stops the step under way, and every later one, from any thread."""
        self._cancelled = True
        self._memory.cancel()

    def placement(self) -> list[tuple[str, str]]:
        """(op, kernel) in order."""
        variant = replace(self.recorder.variant, tiling=few(1))
        return placement(self.recorder.plan, variant, self.tier)

    def close(self) -> None:
        """Ends the threads and lets go of weights and pages; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        for team in set(self._teams.values()):
            team.close()
        if self._mapped is not None:
            self._mapped.close()
        del self.recorder, self._passes, self._tapes, self._mapped, self._rows


def _of_passes(recorder: Recorder) -> tuple[Recorder, ...]:
    """What records the ops on rows that an encoder reads, if there are such, and the others."""
    if recorder.graph.decoder_start is None:
        return (recorder,)
    tasks = recorder.plan.tasks
    first = tuple(task for task in tasks if task.rows == ENCODED)
    parts = (*first[:-1], replace(first[-1], barrier=True)), tasks[len(first) :]
    return tuple(replace(recorder, plan=replace(recorder.plan, tasks=part)) for part in parts)
