"""Where the time of a step goes: every op's time, bytes and flops, and what is lost between ops."""

from __future__ import annotations

import os
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from qrt.backends.base import Progress
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.profile import record_s, tape_s, work_of
from qrt.config import MAX_THREADS
from qrt.errors import InputError
from qrt.runtime.checks import INT_MAX, check_int
from qrt.runtime.engine import Engine
from qrt.runtime.loader import Loaded, LoadOptions, load
from qrt.tools.bandwidth import measure_read_gb_s

Phase = Literal["prefill", "decode"]

_SEED = 0
_N_PREFILLS = 5
_MEMORY_BOUND = 32.0
"""Flops for each byte read up to which no CPU's arithmetic is slower than its memory."""

_LAYER_OR_SUFFIX = re.compile(r"^blk\.\d+\.|\.weight$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """Which steps to time: one of `n_prompt` tokens, and `n_gen` of one; 0 leaves one out.

    `n_depth` are tokens that are in the cache already.
    """

    n_prompt: int = 512
    n_gen: int = 32
    n_depth: int = 0
    n_threads: int
    kv_type: str = "f16"
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("n_prompt", "n_gen", "n_depth"):
            check_int(name, getattr(self, name), 0, INT_MAX)
        check_int("n_threads", self.n_threads, 1, MAX_THREADS)
        if not self.n_prompt and not self.n_gen:
            raise InputError("nothing to profile: n_prompt and n_gen are both 0")
        if self.backend not in ("auto", "cpu"):
            raise InputError(f"only the cpu backend has a profile, got backend {self.backend!r}")


@dataclass(frozen=True, slots=True)
class OpTime:
    """Records of one step taken together: one of them, or all of a kind."""

    kind: str
    name: str
    kernel: str
    calls: int
    seconds: float
    weight_bytes: int = 0
    kv_bytes: int = 0
    flops: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of weights, keys and values that are read."""
        return self.weight_bytes + self.kv_bytes

    @property
    def gb_s(self) -> float:
        return self.n_bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gflop_s(self) -> float:
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def memory_bound(self) -> bool:
        """Whether reading, not arithmetic, limits it."""
        return 0 < self.flops <= _MEMORY_BOUND * self.n_bytes


@dataclass(frozen=True, slots=True)
class StepProfile:
    """One kind of step; all times are medians over `n_steps` of them."""

    phase: Phase
    n_rows: int
    depth: int
    """Tokens before the step's own, in the middle one of the steps."""
    n_steps: int
    seconds: float
    """Of a whole step, as the engine runs it."""
    tape_s: float
    """Of its tape alone."""
    records: tuple[OpTime, ...]
    """Every record of the tape, in order, timed by itself."""

    @property
    def ops(self) -> list[OpTime]:
        """The records by op, name without its layer, and kernel, in order of first use."""
        return _grouped(
            self.records, lambda r: (r.kind, _LAYER_OR_SUFFIX.sub("", r.name), r.kernel)
        )

    @property
    def kinds(self) -> list[OpTime]:
        """The records by op alone."""
        return _grouped(self.records, lambda r: (r.kind, "all", ""))

    @property
    def rest(self) -> list[OpTime]:
        """Barriers, which are what the records leave of the tape's time; Python around the tape;
        and the whole step. Barriers are below zero where ops gain from following each other."""
        sums = _grouped(self.records, lambda _: ("", "", ""))[0]
        return [
            OpTime("barriers", "", "", 0, self.tape_s - sums.seconds),
            OpTime("python", "", "", 0, self.seconds - self.tape_s),
            OpTime(
                *("step", "", "", sums.calls, self.seconds),
                *(sums.weight_bytes, sums.kv_bytes, sums.flops),
            ),
        ]


@dataclass(frozen=True, slots=True)
class Profile:
    """The steps of one model, and what the same threads read from memory in the same run: the
    median of measurements before, between and after the steps."""

    model_filename: str
    n_threads: int
    kv_type: str
    read_gb_s: float
    steps: tuple[StepProfile, ...]


def profile(path: str | os.PathLike[str], options: ProfileOptions, progress: Progress) -> Profile:
    """Times the steps that `options` name.

    Raises InputError for a prompt that does not fit one step, and what `runtime.loader.load` does.
    """
    load_options = LoadOptions(
        n_ctx=options.n_depth + max(options.n_prompt, options.n_gen),
        n_threads=options.n_threads,
        kv_type=options.kv_type,
        backend=options.backend,
    )
    loaded = load(path, load_options, progress)
    with closing(_Runner(loaded)) as runner:
        max_rows = loaded.executor.settings.max_rows
        if options.n_prompt > max_rows:
            what = f"a prefill step has at most {max_rows} tokens, got n_prompt {options.n_prompt}"
            raise InputError(f"{what}; use n_depth for those before them")
        depth, n_threads = options.n_depth, options.n_threads
        plans: list[tuple[Phase, int, Sequence[int]]] = []
        if options.n_prompt:
            plans.append(("prefill", options.n_prompt, [depth] * _N_PREFILLS))
        if options.n_gen:
            plans.append(("decode", 1, range(depth, depth + options.n_gen)))
        steps, reads = [], [measure_read_gb_s(n_threads, progress)]
        for phase, n_rows, starts in plans:
            steps.append(runner.profile(phase, n_rows, starts, progress))
            reads.append(measure_read_gb_s(n_threads, progress))
    read_gb_s = statistics.median(reads)
    return Profile(str(path), n_threads, options.kv_type, read_gb_s, tuple(steps))


def chrome_trace(profile: Profile) -> dict[str, object]:
    """One step of each kind in Chrome's trace event format, its records end to end."""
    events: list[dict[str, object]] = []
    for process, step in enumerate(profile.steps):
        where = {"pid": process, "tid": 0}
        title = {"name": f"{step.phase}: {step.n_rows} rows at {step.depth}"}
        events.append({"name": "process_name", "ph": "M", **where, "args": title})
        ts = 0.0
        for record in step.records:
            args = {
                "kernel": record.kernel,
                "bytes": record.n_bytes,
                "gb_s": record.gb_s,
                "flops": record.flops,
                "gflop_s": record.gflop_s,
            }
            spent = {"ph": "X", "ts": ts, "dur": 1e6 * record.seconds}
            events.append({"name": record.name, "cat": record.kind, **spent, **where, "args": args})
            ts += 1e6 * record.seconds
    return {"displayTimeUnit": "ms", "traceEvents": events}


class _Runner:
    """Runs the steps of one loaded model, all on one sequence: whole, and record by record."""

    def __init__(self, loaded: Loaded) -> None:
        assert isinstance(loaded.executor, CpuExecutor)
        self._executor = loaded.executor
        self._engine = Engine(loaded.executor, loaded.n_ctx)
        self._loaded = loaded
        self._seq = self._engine.open()
        ids = range(loaded.graph.n_vocab)
        self._tokens = random.Random(_SEED).choices(ids, k=loaded.n_ctx)

    def profile(
        self, phase: Phase, n_rows: int, starts: Sequence[int], progress: Progress
    ) -> StepProfile:
        """The medians over steps of `n_rows` tokens at each of the positions `starts`."""
        executor, what = self._executor, f"profiling {phase}"
        progress(what, 0, len(starts))
        self._step_s(phase, n_rows, starts[0])  # fills the depth, warms caches and threads up
        whole, tapes, records = [], [], []
        for done, start in enumerate(starts):
            run_step = partial(self._step_s, phase, n_rows, start)
            tape_seconds, seconds = tape_s(executor, run_step)
            tapes.append(tape_seconds)
            whole.append(seconds)
            records.append(record_s(executor, run_step))
            progress(what, done + 1, len(starts))
        depth = starts[len(starts) // 2]
        work = work_of(executor, phase, n_rows, 1, depth)
        medians = [statistics.median(times) for times in zip(*records, strict=True)]
        return StepProfile(
            phase=phase,
            n_rows=n_rows,
            depth=depth,
            n_steps=len(starts),
            seconds=statistics.median(whole),
            tape_s=statistics.median(tapes),
            records=tuple(
                OpTime(calls=1, seconds=median, **asdict(one))
                for one, median in zip(work, medians, strict=True)
            ),
        )

    def _step_s(self, phase: Phase, n_rows: int, start: int) -> float:
        """Seconds of one step at position `start`, what lies before it being there."""
        tokens, engine, seq = self._tokens, self._engine, self._seq
        engine.acquire(seq, self, tokens[: start + 1])  # cuts to at most `start`
        try:
            if len(seq) < start:
                engine.prefill(seq, tokens[len(seq) : start])
            began = time.perf_counter()
            engine.prefill(seq, tokens[start : start + n_rows], phase=phase)
            return time.perf_counter() - began
        finally:
            engine.park(seq, self)

    def close(self) -> None:
        self._engine.close()
        self._loaded.file.close()


def _grouped(
    records: Iterable[OpTime], key: Callable[[OpTime], tuple[str, str, str]]
) -> list[OpTime]:
    """Sums of the records that share a (kind, name, kernel), in order of first use."""
    groups: dict[tuple[str, str, str], list[OpTime]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return [
        OpTime(
            *names,
            calls=sum(r.calls for r in group),
            seconds=sum(r.seconds for r in group),
            weight_bytes=sum(r.weight_bytes for r in group),
            kv_bytes=sum(r.kv_bytes for r in group),
            flops=sum(r.flops for r in group),
        )
        for names, group in groups.items()
    ]
