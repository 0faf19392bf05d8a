"""`qrt profile`: where the time of a prefill step and of a decode step goes, op by op."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Option

from qrt.cli.arguments import model_file, only_model
from qrt.cli.flags import KvFlags, ModelArgument, ModelFlag
from qrt.cli.progress import shown_progress
from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.tools.profile import OpTime, Profile, StepProfile


def profile(
    kv: KvFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    n_prompt: Annotated[
        int, Option("-p", "--n-prompt", metavar="N", help="Tokens of the prefill; 0 leaves it out.")
    ] = 512,
    n_gen: Annotated[
        int, Option("-n", "--n-gen", metavar="N", help="Decode steps; 0 leaves them out.")
    ] = 32,
    n_depth: Annotated[
        int, Option("-d", "--n-depth", metavar="N", help="Tokens in the cache before.")
    ] = 0,
    n_threads: Annotated[
        int | None,
        Option("-t", "--threads", metavar="N", help="Threads. Default: one per CPU."),
    ] = None,
    backend: Annotated[str, Option("--backend", metavar="NAME")] = "auto",
    trace: Annotated[
        str | None,
        Option("--trace", metavar="FILE", help="Write one step of each kind as a Chrome trace."),
    ] = None,
    output: Annotated[str, Option("-o", "--output", metavar="FORMAT", help="md or json.")] = "md",
) -> None:
    """Time every op of a step by itself, beside the whole step and the machine's read bandwidth.

    MB and % of read count the weights, keys and values that are read. Needs a machine that is idle
    otherwise: what else runs shows as time in barriers.
    """
    from qrt.config import default_threads
    from qrt.tools.profile import ProfileOptions, chrome_trace
    from qrt.tools.profile import profile as measure

    if output not in FORMATS:
        raise InputError(f"-o must be one of {', '.join(FORMATS)}, got {output!r}")
    options = ProfileOptions(
        n_prompt=n_prompt,
        n_gen=n_gen,
        n_depth=n_depth,
        n_threads=default_threads() if n_threads is None else n_threads,
        backend=backend,
        **kv.keywords(),
    )
    path = model_file(only_model(model, model_flag))
    with shown_progress() as progress:
        result = measure(path, options, progress)
    for line in FORMATS[output](result):
        print(line, flush=True)
    if trace is not None:
        _write(trace, json.dumps(chrome_trace(result)))


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise InputError(f"{path!r}: cannot be written: {error}") from None


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    value: Callable[[OpTime, StepProfile, float], str]
    right: bool = True


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value else ""


_COLUMNS = (
    _Column("step", 15, lambda _, step, __: _title(step), right=False),
    _Column("op", 10, lambda op, *_: op.kind, right=False),
    _Column("name", 15, lambda op, *_: op.name, right=False),
    _Column("kernel", 21, lambda op, *_: op.kernel, right=False),
    _Column("calls", 5, lambda op, *_: _figure(op.calls, 0)),
    _Column("ms", 9, lambda op, *_: f"{1e3 * op.seconds:.3f}"),
    _Column("%", 5, lambda op, step, _: f"{100 * op.seconds / step.seconds:.1f}"),
    _Column("MB", 8, lambda op, *_: _figure(op.n_bytes / 1e6, 2)),
    _Column("GFLOP", 8, lambda op, *_: _figure(op.flops / 1e9, 3)),
    _Column("GB/s", 6, lambda op, *_: _figure(op.gb_s, 2)),
    _Column("GFLOP/s", 7, lambda op, *_: _figure(op.gflop_s, 1)),
    _Column("% of read", 9, lambda op, _, read: _figure(_read_percent(op, read) or 0.0, 0)),
)


def as_markdown(profile: Profile) -> Iterator[str]:
    """One line on the run, and one table: ops, all of a kind, what is left, the whole step."""
    threads = f"{profile.n_threads} threads, which read {profile.read_gb_s:.2f} GB/s"
    yield f"{profile.model_filename}, KV {profile.kv_type}, {threads}"
    yield ""
    yield _row(column.title for column in _COLUMNS)
    yield _row("-" * (column.width - 1) + "-:"[column.right] for column in _COLUMNS)
    for step in profile.steps:
        for op in _lines(step):
            yield _row(column.value(op, step, profile.read_gb_s) for column in _COLUMNS)


def as_json(profile: Profile) -> Iterator[str]:
    """The same as one JSON object."""
    steps = [
        {
            "phase": step.phase,
            "n_rows": step.n_rows,
            "depth": step.depth,
            "n_steps": step.n_steps,
            "step_s": step.seconds,
            "tape_s": step.tape_s,
            **{
                name: [_record(op, step, profile.read_gb_s) for op in ops]
                for name, ops in (("ops", step.ops), ("kinds", step.kinds), ("rest", step.rest))
            },
        }
        for step in profile.steps
    ]
    head = {
        "model_filename": profile.model_filename,
        "n_threads": profile.n_threads,
        "kv_type": profile.kv_type,
        "read_gb_s": profile.read_gb_s,
    }
    yield json.dumps({**head, "steps": steps}, indent=2)


FORMATS: dict[str, Callable[[Profile], Iterator[str]]] = {"md": as_markdown, "json": as_json}


def _title(step: StepProfile) -> str:
    """pp512, pp512 @ d4096, tg1 @ d16: as bench names its tests."""
    name = f"{'pp' if step.phase == 'prefill' else 'tg'}{step.n_rows}"
    return f"{name} @ d{step.depth}" if step.depth else name


def _lines(step: StepProfile) -> Iterator[OpTime]:
    """The ops, then the kinds that stand in several lines, then the rest."""
    kinds = [op.kind for op in step.ops]
    yield from step.ops
    yield from (kind for kind in step.kinds if kinds.count(kind.kind) > 1)
    yield from step.rest


def _record(op: OpTime, step: StepProfile, read_gb_s: float) -> dict[str, object]:
    return {
        **asdict(op),
        "share": op.seconds / step.seconds,
        "gb_s": op.gb_s,
        "gflop_s": op.gflop_s,
        "read_percent": _read_percent(op, read_gb_s),
    }


def _read_percent(op: OpTime, read_gb_s: float) -> float | None:
    return 100 * op.gb_s / read_gb_s if op.memory_bound else None


def _row(cells: Iterable[str]) -> str:
    parts = [
        f"{cell:{'>' if column.right else '<'}{column.width}}"
        for cell, column in zip(cells, _COLUMNS, strict=True)
    ]
    return f"| {' | '.join(parts)} |"
