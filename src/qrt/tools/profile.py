"""Times the steps of a model op by op, and measures the ceilings of the machine beside them."""

from __future__ import annotations

import math
import os
import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from qrt.backends.base import Settings
from qrt.backends.cpu.ceilings import Ceilings, measure_ceilings
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.profile import StepClock, StepTimes, Work, work_of
from qrt.config import MAX_THREADS
from qrt.errors import InputError
from qrt.graph.batch import Phase, phase_of
from qrt.progress import Progress
from qrt.runtime.checks import INT_MAX, check_int
from qrt.runtime.engine import Engine
from qrt.runtime.loader import Loaded, LoadOptions, load
from qrt.tools.op_times import OpTime, Profile, Size, StepProfile

_SEED = 0
_MAX_PROMPT = 512
_N_PREFILLS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """Which steps to time: one of `n_prompt` tokens, and `n_gen` of one; 0 leaves one out.

    `n_prompt` None is 512, or as many as one step takes. `n_depth` are tokens that are in the
    cache already. `n_threads` None are those that a model runs with when none are asked for.
    """

    n_prompt: int | None = None
    n_gen: int = 32
    n_depth: int = 0
    n_threads: int | None = None
    kv_type: str = "f16"
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("n_prompt", "n_gen", "n_depth"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 0, INT_MAX)
        if self.n_threads is not None:
            check_int("n_threads", self.n_threads, 1, MAX_THREADS)
        if self.n_prompt == 0 and not self.n_gen:
            raise InputError("nothing to profile: n_prompt and n_gen are both 0")
        if self.backend not in ("auto", "cpu"):
            raise InputError(f"only the cpu backend has a profile, got backend {self.backend!r}")


def profile(path: str | os.PathLike[str], options: ProfileOptions, progress: Progress) -> Profile:
    """Times the steps that `options` name.

    Raises InputError for a prompt that does not fit one step, and what `runtime.loader.load` does.
    """
    n_prompt = _MAX_PROMPT if options.n_prompt is None else options.n_prompt
    load_options = LoadOptions(
        n_ctx=options.n_depth + max(n_prompt, options.n_gen),
        n_threads=options.n_threads,
        kv_type=options.kv_type,
        backend=options.backend,
    )
    loaded = load(path, load_options, progress)
    with closing(_Runner(loaded, progress)) as runner:
        size = Size(
            n_params=sum(math.prod(tensor.shape) for tensor in loaded.file.tensors.values()),
            n_active_params=loaded.graph.active_params(),
            file_bytes=loaded.file.file_bytes,
            weight_bytes_per_token=loaded.weight_bytes,
        )
        settings = loaded.executor.settings
        if options.n_prompt is None:
            n_prompt = min(n_prompt, settings.max_rows)
        if n_prompt > settings.max_rows:
            limit = f"a prefill step has at most {settings.max_rows} tokens"
            what = f"{limit}, got n_prompt {n_prompt}"
            raise InputError(f"{what}; use n_depth for those before them")
        if loaded.graph.whole_texts:
            options = replace(options, n_gen=0)
            if not n_prompt or options.n_depth:
                arch = loaded.graph.arch
                raise InputError(f"{arch} models take whole texts; profile n_prompt at depth 0")
        plans = list(_plans(n_prompt, options, settings))
        n_threads = max(plan.n_threads for plan in plans)
        ceilings = [measure_ceilings(n_threads, progress)]
        times = []
        for plan in plans:
            times.append(runner.times(plan, progress))
            ceilings.append(measure_ceilings(n_threads, progress))
        typical = _medians(ceilings)
        steps = [
            _step_profile(plan, runner.work(plan), some, typical)
            for plan, some in zip(plans, times, strict=True)
        ]
    return Profile(str(path), n_threads, options.kv_type, size, typical, tuple(steps))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Steps of `n_rows` tokens, one at each of the positions `starts`."""

    phase: Phase
    n_rows: int
    n_threads: int
    starts: Sequence[int]

    @property
    def depth(self) -> int:
        return self.starts[len(self.starts) // 2]


def _plans(n_prompt: int, options: ProfileOptions, settings: Settings) -> Iterator[_Plan]:
    depth, threads_of = options.n_depth, settings.threads_of
    if n_prompt:
        yield _Plan("prefill", n_prompt, threads_of(phase_of(n_prompt)), [depth] * _N_PREFILLS)
    if options.n_gen:
        yield _Plan("decode", 1, threads_of("decode"), range(depth, depth + options.n_gen))


class _Runner:
    """Runs the steps of one loaded model, all on one sequence."""

    def __init__(self, loaded: Loaded, progress: Progress) -> None:
        assert isinstance(loaded.executor, CpuExecutor)
        self._executor = loaded.executor
        self._engine = Engine(loaded.executor, loaded.graph.states, loaded.n_ctx)
        self._clock = StepClock(loaded.executor, progress)
        self._loaded = loaded
        self._seq = self._engine.open()
        ids = range(loaded.graph.n_vocab)
        self._tokens = random.Random(_SEED).choices(ids, k=loaded.n_ctx)

    def times(self, plan: _Plan, progress: Progress) -> list[StepTimes]:
        """The times of every step, after one that fills the depth and warms caches up."""
        what = f"profiling {plan.phase}"
        progress(what, 0, len(plan.starts))
        self._step(plan, plan.starts[0])
        found = []
        for start in plan.starts:
            found.append(self._step(plan, start))
            progress(what, len(found), len(plan.starts))
        return found

    def work(self, plan: _Plan) -> list[Work]:
        """What the records of the middle step do."""
        return work_of(self._executor, plan.n_rows, 1, plan.depth)

    def _step(self, plan: _Plan, start: int) -> StepTimes:
        """One step at position `start`, what lies before it being there."""
        tokens, engine, seq = self._tokens, self._engine, self._seq
        n_kept = engine.cut(seq, start)
        if n_kept < start:
            engine.append(seq, tokens[n_kept:start])
        rows = tokens[start : start + plan.n_rows]
        return self._clock.time(lambda: engine.append(seq, rows))

    def close(self) -> None:
        self._engine.close()
        self._loaded.file.close()


def _medians(found: Sequence[Ceilings]) -> Ceilings:
    return Ceilings(
        statistics.median(one.read_gb_s for one in found),
        {unit: statistics.median(one.gflop_s[unit] for one in found) for unit in found[0].gflop_s},
    )


def _step_profile(
    plan: _Plan, work: Sequence[Work], times: Sequence[StepTimes], ceilings: Ceilings
) -> StepProfile:
    """Means over the middle half of the steps: those that were disturbed are left out."""
    cut = len(times) // 4
    middle = sorted(times, key=lambda one: one.seconds)[cut : len(times) - cut]
    work_s = np.mean([one.work_s for one in middle], axis=0)
    wait_s = np.mean([one.wait_s for one in middle], axis=0)
    return StepProfile(
        phase=plan.phase,
        n_rows=plan.n_rows,
        depth=plan.depth,
        n_threads=plan.n_threads,
        n_steps=len(middle),
        seconds=statistics.mean(one.seconds for one in middle),
        records=tuple(map(partial(_op_time, ceilings), work, work_s.tolist(), wait_s.tolist())),
    )


def _op_time(ceilings: Ceilings, work: Work, work_s: float, wait_s: float) -> OpTime:
    """One record; those without flops have no limit."""
    memory_s = (work.weight_bytes + work.state_bytes) / ceilings.read_gb_s / 1e9
    compute_s = work.flops / ceilings.gflop_s[work.unit] / 1e9
    by_memory = memory_s >= compute_s
    return OpTime(
        kind=work.kind,
        name=work.name,
        kernel=work.kernel,
        calls=1,
        seconds=work_s + wait_s,
        wait_s=wait_s,
        weight_bytes=work.weight_bytes,
        state_bytes=work.state_bytes,
        flops=work.flops,
        memory_s=memory_s if work.flops and by_memory else 0.0,
        compute_s=compute_s if work.flops and not by_memory else 0.0,
    )
