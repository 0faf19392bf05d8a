"""Measures prefill and decode speed as llama-bench does: random tokens, no sampling, a warm-up."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product

from qrt.backends.cpu.ceilings import measure_read_gb_s
from qrt.backends.cpu.states import kv_bytes
from qrt.config import MAX_THREADS
from qrt.errors import InputError
from qrt.progress import Progress
from qrt.runtime.checks import INT_MAX, check_int
from qrt.runtime.engine import Engine
from qrt.runtime.loader import Loaded, LoadOptions, load
from qrt.tools.describe import type_totals

_SEED = 0
_MAX_REPETITIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to measure: every prompt and answer length, at every depth, with every thread count.

    `n_depth` are tokens that are in the cache already. A length of 0 leaves that test out. None
    threads are those that a model runs with when none are asked for.
    """

    n_threads: tuple[int | None, ...] = (None,)
    n_prompt: tuple[int, ...] = (512,)
    n_gen: tuple[int, ...] = (128,)
    n_depth: tuple[int, ...] = (0,)
    repetitions: int = 5
    kv_type: str = "f16"
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("n_prompt", "n_gen", "n_depth"):
            for value in getattr(self, name):
                check_int(name, value, 0, INT_MAX)
        for n_threads in self.n_threads:
            if n_threads is not None:
                check_int("n_threads", n_threads, 1, MAX_THREADS)
        check_int("repetitions", self.repetitions, 1, _MAX_REPETITIONS)
        if not self.tests:
            raise InputError("nothing to measure: n_prompt and n_gen are both 0")

    @property
    def tests(self) -> tuple[BenchTest, ...]:
        """The tests for one thread count, in order."""
        sizes = [(p, 0) for p in self.n_prompt if p] + [(0, n) for n in self.n_gen if n]
        return tuple(BenchTest(p, n, depth) for (p, n), depth in product(sizes, self.n_depth))


@dataclass(frozen=True, slots=True)
class BenchTest:
    """`n_prompt` tokens in one go, or `n_gen` one by one, after `n_depth` others."""

    n_prompt: int
    n_gen: int
    n_depth: int

    @property
    def name(self) -> str:
        """As llama-bench writes it: pp512, tg128, tg128 @ d4096."""
        name = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return f"{name} @ d{self.n_depth}" if self.n_depth else name

    @property
    def n_tokens(self) -> int:
        """Tokens that are timed."""
        return self.n_prompt or self.n_gen


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One test's samples and the facts about model and machine that belong to them."""

    model_filename: str
    model_type: str
    model_size: int
    model_n_params: int
    backend: str
    n_threads: int
    kv_type: str
    max_rows: int
    test: BenchTest
    test_time: str
    samples_ns: tuple[int, ...]
    bytes_per_token: int
    """Weights and, at a depth, the keys and values there, that decoding one token reads."""
    read_gb_s: float
    """What the threads of a prompt read from memory, measured in the same run."""

    @property
    def samples_ts(self) -> list[float]:
        """Tokens a second of each repetition."""
        return [1e9 * self.test.n_tokens / ns for ns in self.samples_ns]

    @property
    def avg_ns(self) -> float:
        return statistics.fmean(self.samples_ns)

    @property
    def stddev_ns(self) -> float:
        return _deviation(self.samples_ns)

    @property
    def avg_ts(self) -> float:
        return statistics.fmean(self.samples_ts)

    @property
    def stddev_ts(self) -> float:
        return _deviation(self.samples_ts)

    @property
    def gb_s(self) -> float | None:
        """Gigabytes (1e9) a second read while decoding; None for a prompt."""
        return self.avg_ts * self.bytes_per_token / 1e9 if self.test.n_gen else None


def bench(
    path: str | os.PathLike[str], options: BenchOptions, progress: Progress
) -> Iterator[BenchResult]:
    """Yields the result of each test as soon as it is done. Raises what `runtime.loader.load` does.

    The model is loaded, and the read bandwidth measured, once for every thread count.
    """
    n_ctx = max(test.n_depth + test.n_tokens for test in options.tests)
    for n_threads in options.n_threads:
        load_options = LoadOptions(
            n_ctx=n_ctx, n_threads=n_threads, kv_type=options.kv_type, backend=options.backend
        )
        loaded = load(path, load_options, progress)
        with closing(_Runner(loaded)) as runner:
            read_gb_s = measure_read_gb_s(loaded.executor.settings.n_threads, progress)
            for test in _tests_of(loaded, options):
                test_time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                samples = runner.samples(test, options.repetitions, progress)
                yield _result(loaded, test, test_time, samples, read_gb_s)


def _tests_of(loaded: Loaded, options: BenchOptions) -> list[BenchTest]:
    """The tests that a model can do: an encoder takes whole texts, a decoder beside it answers.

    Raises InputError for none.
    """
    tests = list(options.tests)
    if loaded.graph.whole_texts:
        answers = loaded.graph.decoder_start is not None
        whole = [test for test in tests if test.n_prompt and not test.n_depth]
        tests = [test for test in tests if test in whole or (answers and not test.n_prompt)]
    if not tests:
        arch = loaded.graph.arch
        raise InputError(f"{arch} models take whole texts; measure n_prompt at depth 0")
    return tests


class _Runner:
    """Runs tests on one loaded model, all on one sequence."""

    def __init__(self, loaded: Loaded) -> None:
        self._engine = Engine(loaded.executor, loaded.graph.states, loaded.n_ctx)
        self._loaded = loaded
        self._seq = self._engine.open()
        ids = range(loaded.graph.n_vocab)
        self._tokens = random.Random(_SEED).choices(ids, k=loaded.n_ctx)

    def samples(self, test: BenchTest, repetitions: int, progress: Progress) -> tuple[int, ...]:
        """Nanoseconds of each repetition."""
        what = f"measuring {test.name}"
        progress(what, 0, repetitions)
        self._time(BenchTest(test.n_prompt, min(test.n_gen, 1), test.n_depth))
        samples = []
        for done in range(repetitions):
            samples.append(self._time(test))
            progress(what, done + 1, repetitions)
        return tuple(samples)

    def _time(self, test: BenchTest) -> int:
        if self._loaded.graph.decoder_start is not None:
            return self._time_answer(test)
        depth, end = test.n_depth, test.n_depth + test.n_tokens
        tokens, engine, seq = self._tokens, self._engine, self._seq
        engine.cut(seq, depth)
        if len(seq) < depth:
            engine.append(seq, tokens[len(seq) : depth])
        start = time.perf_counter_ns()
        if test.n_prompt:
            engine.append(seq, tokens[depth:end])
        else:
            for token in tokens[depth:end]:
                engine.append(seq, [token])
        return time.perf_counter_ns() - start

    def _time_answer(self, test: BenchTest) -> int:
        """An encoder reads the prompt; a text as long as the depth, or a token, is answered."""
        tokens, engine, seq = self._tokens, self._engine, self._seq
        start = time.perf_counter_ns()
        engine.encode(seq, tokens[: test.n_prompt or test.n_depth or 1])
        start = start if test.n_prompt else time.perf_counter_ns()
        for token in tokens[: test.n_gen]:
            if len(seq) == engine.n_ctx:
                engine.cut(seq, seq.n_encoded)
            engine.append(seq, [token])
        return time.perf_counter_ns() - start

    def close(self) -> None:
        self._engine.close()
        self._loaded.file.close()


def _result(
    loaded: Loaded, test: BenchTest, test_time: str, samples_ns: tuple[int, ...], read_gb_s: float
) -> BenchResult:
    totals = list(type_totals(loaded.file.tensors))
    n_params = sum(total.n_params for total in totals)
    size = loaded.file.metadata.get("general.size_label") or short_count(n_params)
    settings = loaded.executor.settings
    kv_read = kv_bytes(loaded.graph.states, settings.kv_type, test.n_depth)
    return BenchResult(
        model_filename=str(loaded.file.path),
        model_type=f"{loaded.graph.arch} {size} {totals[0].qtype}",
        model_size=sum(total.n_bytes for total in totals),
        model_n_params=n_params,
        backend=loaded.backend,
        n_threads=settings.threads_of("prefill" if test.n_prompt else "decode"),
        kv_type=settings.kv_type,
        max_rows=settings.max_rows,
        test=test,
        test_time=test_time,
        samples_ns=samples_ns,
        bytes_per_token=loaded.weight_bytes + kv_read,
        read_gb_s=read_gb_s,
    )


def short_count(count: int) -> str:
    """1235814400 as 1.24B."""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.2f}{name}"
    return str(count)


def _deviation(samples: tuple[int, ...] | list[float]) -> float:
    return statistics.stdev(samples) if len(samples) > 1 else 0.0
