"""Measures, once for a machine, the choices that suit it; the defaults stay where nothing is won.

Candidates run in turn, round after round, so that whatever else the machine does meets all of them.
One that is not clearly faster than the default in every round is not taken.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from qrt.arch import build_graph
from qrt.backends.base import Choices, Settings
from qrt.backends.cpu import check, prepare
from qrt.backends.cpu.tuning import (
    allowed,
    defaults,
    n_cpus,
    this_host,
    tuning_path,
    write_tuning,
)
from qrt.config import read_env
from qrt.formats.gguf import open_gguf
from qrt.progress import Progress
from qrt.runtime.capacity import capacities
from qrt.runtime.checks import check_int
from qrt.runtime.engine import Engine
from qrt.tools.tune_model import TuneModel, random_model

MIN_GAIN = 0.05
"""The part of the default's time that a candidate must save in every round."""

MAX_SPREAD = 1.25
"""The default's slowest round by its fastest, beyond which something else disturbed them."""

MIN_ROUNDS, MAX_ROUNDS = 3, 100

_PREFILL_BYTES, _DECODE_BYTES = 1, 192 * 1024 * 1024
"""Weights to run: one layer for prefill, more than most caches hold for decode."""

_N_PROMPT, _N_GEN = 1024, 32
_SEED = 0
_SETTLE_S = 0.02
"""Until the threads that the candidate before leaves spinning are parked."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One choice: the seconds of every candidate in the rounds it took part in, and the winner."""

    name: str
    default: int
    winner: int
    seconds: dict[int, list[float]]

    @property
    def median_s(self) -> dict[int, float]:
        """Seconds of every candidate."""
        return {value: statistics.median(times) for value, times in self.seconds.items() if times}

    @property
    def steady(self) -> bool:
        """Whether the default took about the same time in every round."""
        usual = self.seconds[self.default]
        return not usual or max(usual) <= MAX_SPREAD * min(usual)

    @property
    def gain(self) -> float:
        """The part of the default's time that the winner saves, the median of all rounds."""
        if self.winner == self.default:
            return 0.0
        rounds = zip(self.seconds[self.winner], self.seconds[self.default], strict=True)
        return statistics.median(1 - ours / usual for ours, usual in rounds)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was measured, and the file that holds it."""

    model: str
    path: str
    choices: tuple[Measured, ...]


def race(
    name: str,
    default: int,
    others: Sequence[int],
    n_rounds: int,
    seconds: Callable[[int], float],
) -> Measured:
    """Times the default and the others, `seconds(value)` each, in interleaved rounds.

    A candidate that saves less than MIN_GAIN in any round cannot win; after MIN_ROUNDS it is timed
    no more. The fastest of those that are left wins; the default where none is, or where its own
    times are so far apart that no others mean anything.
    """
    times: dict[int, list[float]] = {value: [] for value in (default, *others)}
    left = list(others)
    for turn in range(n_rounds if others else 0):
        order = [default, *(others if turn < MIN_ROUNDS else left)]
        if order == [default]:
            break
        for value in order if turn % 2 == 0 else reversed(order):
            times[value].append(seconds(value))
        limit = times[default][-1] * (1 - MIN_GAIN)
        left = [value for value in left if times[value][-1] <= limit]
    done = Measured(name, default, default, times)
    if not left or not done.steady:
        return done
    return replace(done, winner=min(left, key=done.median_s.__getitem__))


def tune(path: str | os.PathLike[str] | None, n_rounds: int, progress: Progress) -> Tuned:
    """Measures every choice with the first layers of a model file, or of a random model.

    Keeps what wins in the cache directory, where models that are loaded later find it. Raises
    GGUFError or ArchError for the file, BackendError where nothing can be run or kept.
    """
    check_int("rounds", n_rounds, MIN_ROUNDS, MAX_ROUNDS)
    env = replace(read_env(), n_threads=None)
    target = tuning_path(env)
    usual, known = defaults(env), allowed(env)
    contests = _contests(n_cpus(env))
    choices, results = usual, []
    with _opened(path) as model:
        for i, contest in enumerate(contests):
            progress(f"measuring {contest.name}", i, len(contests))
            default = getattr(usual, contest.name)
            others = [v for v in contest.candidates if v != default and v in known[contest.name]]
            values = (default, *others) if others else ()
            with _trials(model, contest, choices, values, progress) as seconds:
                result = race(contest.name, default, others, n_rounds, seconds)
            results.append(result)
            choices = replace(choices, **{contest.name: result.winner})
        where = model.where
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = {"qrt": version("qrt"), "date": date, "model": where, "min_gain": MIN_GAIN}
    records = {result.name: _record(result) for result in results}
    write_tuning(target, {**head, "host": asdict(this_host(env)), "choices": records})
    return Tuned(where, str(target), tuple(results))


class _Trial:
    """A model prepared with certain choices, and one sequence on it."""

    def __init__(self, model: TuneModel, choices: Choices, progress: Progress) -> None:
        graph = build_graph(model.metadata, model.tensors, model.where)
        settings = Settings(
            n_threads=choices.prefill_threads or 1,
            capacities=capacities(graph.states, _N_PROMPT, choices.prefill_rows),
            max_rows=choices.prefill_rows,
            kv_type="f16",
            n_ctx=_N_PROMPT,
            decode_threads=choices.decode_threads,
        )
        check(graph)
        executor = prepare(graph, model.tensors, settings, progress)
        self._engine = Engine(executor, graph.states, _N_PROMPT)
        self._seq = self._engine.open()
        self._tokens = random.Random(_SEED).choices(range(graph.n_vocab), k=_N_PROMPT)

    def prefill_s(self) -> float:
        """Seconds of a prompt of _N_PROMPT tokens."""
        return self._seconds(_N_PROMPT, chunk=None)

    def decode_s(self) -> float:
        """Seconds of _N_GEN tokens, one by one."""
        return self._seconds(_N_GEN, chunk=1)

    def _seconds(self, n_tokens: int, chunk: int | None) -> float:
        """Of so many tokens on an empty sequence; those of one token before wake the threads."""
        time.sleep(_SETTLE_S)
        seconds = 0.0
        for tokens in (self._tokens[:1], self._tokens[:n_tokens]):
            self._engine.cut(self._seq, 0)
            start = time.perf_counter()
            self._engine.append(self._seq, tokens, chunk=chunk)
            seconds = time.perf_counter() - start
        return seconds

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True, slots=True)
class _Contest:
    """What may be better than the default, and what shows it: `n_bytes` of layers, one timing."""

    name: str
    candidates: tuple[int, ...]
    n_bytes: int
    seconds: Callable[[_Trial], float]


def _contests(n: int) -> tuple[_Contest, ...]:
    """In order: each is run with the winners of those before it. `n`: CPUs."""
    prefill, decode = (_PREFILL_BYTES, _Trial.prefill_s), (_DECODE_BYTES, _Trial.decode_s)
    threads = tuple(dict.fromkeys((n - 1, n // 2, n // 4)))
    return (
        _Contest("prefill_threads", threads[:2], *prefill),
        _Contest("prefill_rows", (256, 1024), *prefill),
        _Contest("decode_threads", threads, *decode),
    )


@contextmanager
def _opened(path: str | os.PathLike[str] | None) -> Iterator[TuneModel]:
    if path is None:
        yield random_model()
        return
    with open_gguf(path) as file:
        yield TuneModel(file.metadata, file.tensors, str(path))


@contextmanager
def _trials(
    model: TuneModel,
    contest: _Contest,
    choices: Choices,
    values: Sequence[int],
    progress: Progress,
) -> Iterator[Callable[[int], float]]:
    """What times a value: a trial for each, all other choices as they stand, run once before."""
    layers = model.first_layers(contest.n_bytes)
    with ExitStack() as stack:
        trials = {}
        for value in values:
            trial = _Trial(layers, replace(choices, **{contest.name: value}), progress)
            trials[value] = stack.enter_context(closing(trial))
            contest.seconds(trial)
        yield lambda value: contest.seconds(trials[value])


def _record(result: Measured) -> dict[str, object]:
    return {
        "value": result.winner,
        "default": result.default,
        "gain": result.gain,
        "steady": result.steady,
        "median_s": result.median_s,
    }
