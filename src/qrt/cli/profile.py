"""`qrt profile`: where the time of a prefill step and of a decode step goes, op by op."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from qrt.cli.arguments import model_file, only_model, output_format
from qrt.cli.flags import KvFlags, ModelArgument, ModelFlag
from qrt.cli.output import byte_size
from qrt.cli.progress import shown_progress
from qrt.cli.tables import Column, MarkdownTable, wrapped
from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.tools.op_times import OpTime, Profile, StepProfile


def profile(
    kv: KvFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    n_prompt: Annotated[
        int | None,
        Option(
            "-p",
            "--n-prompt",
            metavar="N",
            help="Tokens of the prefill; 0 leaves it out. Default: one step's, at most 512.",
        ),
    ] = None,
    n_gen: Annotated[
        int, Option("-n", "--n-gen", metavar="N", help="Decode steps; 0 leaves them out.")
    ] = 32,
    n_depth: Annotated[
        int, Option("-d", "--n-depth", metavar="N", help="Tokens in the cache before.")
    ] = 0,
    n_threads: Annotated[
        int | None,
        Option("-t", "--threads", metavar="N", help="Threads. Default: as tuned, or one per CPU."),
    ] = None,
    backend: Annotated[str, Option("--backend", metavar="NAME")] = "auto",
    trace: Annotated[
        str | None,
        Option("--trace", metavar="FILE", help="Write one step of each kind as a Chrome trace."),
    ] = None,
    plot: Annotated[
        str | None,
        Option("--plot", metavar="FILE", help="Draw the ops under the machine's roofline, as PNG."),
    ] = None,
    output: Annotated[str, Option("-o", "--output", metavar="FORMAT", help="md or json.")] = "md",
) -> None:
    """Time every op of a prefill and a decode step.

    Beside each is the most that this machine's threads can do. MB count the weights, keys and
    values that are read, GFLOP those of matmuls and attention. Wait ms is the part of ms that
    threads spend at barriers, for the slowest of them. An op is bound by memory or compute,
    whichever takes longer at its ceiling; % of limit is that time as a share of ms, above 100 where
    a cache holds what is read. Needs a machine that is idle otherwise: what else runs shows as
    waiting.
    """
    from qrt.tools import roofline
    from qrt.tools.op_times import chrome_trace
    from qrt.tools.profile import ProfileOptions
    from qrt.tools.profile import profile as measure

    written = output_format(FORMATS, output)
    options = ProfileOptions(
        n_prompt=n_prompt,
        n_gen=n_gen,
        n_depth=n_depth,
        n_threads=n_threads,
        backend=backend,
        **kv.keywords(),
    )
    if plot is not None:
        roofline.check_installed()
    path = model_file(only_model(model, model_flag))
    with shown_progress() as progress:
        result = measure(path, options, progress)
    for line in written(result):
        print(line, flush=True)
    if trace is not None:
        _write(trace, json.dumps(chrome_trace(result)).encode())
    if plot is not None:
        _write(plot, roofline.png(result))


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise InputError(f"{path!r}: cannot be written: {error}") from None


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value else ""


_COLUMNS = (
    Column("step", 15, lambda _, step: step.title, right=False),
    Column("op", 10, lambda op, _: op.kind, right=False),
    Column("name", 15, lambda op, _: op.name, right=False),
    Column("kernel", 24, lambda op, _: op.kernel, right=False),
    Column("calls", 5, lambda op, _: _figure(op.calls, 0)),
    Column("ms", 9, lambda op, _: f"{1e3 * op.seconds:.3f}"),
    Column("%", 5, lambda op, step: f"{100 * op.seconds / step.seconds:.1f}"),
    Column("wait ms", 8, lambda op, _: _figure(1e3 * op.wait_s, 3)),
    Column("MB", 8, lambda op, _: _figure(op.n_bytes / 1e6, 2)),
    Column("GFLOP", 8, lambda op, _: _figure(op.flops / 1e9, 3)),
    Column("GB/s", 6, lambda op, _: _figure(op.gb_s, 2)),
    Column("GFLOP/s", 7, lambda op, _: _figure(op.gflop_s, 1)),
    Column("bound by", 8, lambda op, _: op.bound or "", right=False),
    Column("% of limit", 10, lambda op, _: _figure(op.limit_percent or 0.0, 0)),
)
_SPARE = (
    *("kernel", "calls", "GFLOP", "step", "MB", "GFLOP/s", "wait ms", "bound by", "GB/s"),
    "% of limit",
)
"""What is left out where a table is too wide, the first first; steps get lines of their own."""


def as_markdown(profile: Profile) -> Iterator[str]:
    """A line each on run, size and ceilings, and a table: ops, all of a kind, totals."""
    from qrt.tools.bench import short_count

    tops = profile.ceilings.gflop_s.items()
    arithmetic = ", ".join(f"{value:.0f} GFLOP/s {unit}" for unit, value in tops)
    read = f"read {profile.ceilings.read_gb_s:.2f} GB/s"
    runs = ", ".join(f"{step.title} on {step.n_threads} threads" for step in profile.steps)
    size = profile.size
    for line in (
        f"{profile.model_filename}, KV {profile.kv_type}, {runs}",
        f"{short_count(size.n_params)} parameters in {byte_size(size.file_bytes)}; a token needs "
        f"{short_count(size.n_active_params)} of them, {byte_size(size.weight_bytes_per_token)}",
        f"ceilings of {profile.n_threads} threads: {read}, {arithmetic}",
    ):
        yield wrapped(line, sys.stdout)
    yield ""
    table = MarkdownTable(_COLUMNS, _SPARE)
    is_apart = any(column.title == "step" for column in table.left_out)
    yield from table.head()
    for step in profile.steps:
        if is_apart:
            yield f"{step.title}:"
        yield from (table.row(op, step) for op in _lines(step))
    yield from table.foot()


def as_json(profile: Profile) -> Iterator[str]:
    """The same as one JSON object."""
    steps = [
        {
            "phase": step.phase,
            "n_rows": step.n_rows,
            "depth": step.depth,
            "n_threads": step.n_threads,
            "n_steps": step.n_steps,
            "step_s": step.seconds,
            "ops": [_record(op, step) for op in step.ops],
            "kinds": [_record(op, step) for op in step.kinds],
            "totals": [_record(op, step) for op in step.totals],
        }
        for step in profile.steps
    ]
    head = {
        "model_filename": profile.model_filename,
        "n_threads": profile.n_threads,
        "kv_type": profile.kv_type,
        **asdict(profile.size),
        **asdict(profile.ceilings),
    }
    yield json.dumps({**head, "steps": steps}, indent=2)


FORMATS: dict[str, Callable[[Profile], Iterator[str]]] = {"md": as_markdown, "json": as_json}


def _lines(step: StepProfile) -> Iterator[OpTime]:
    """The ops, then the kinds that stand in several lines, then the totals."""
    kinds = [op.kind for op in step.ops]
    yield from step.ops
    yield from (kind for kind in step.kinds if kinds.count(kind.kind) > 1)
    yield from step.totals


def _record(op: OpTime, step: StepProfile) -> dict[str, object]:
    return {
        **asdict(op),
        "share": op.seconds / step.seconds,
        "gb_s": op.gb_s,
        "gflop_s": op.gflop_s,
        "bound": op.bound,
        "limit_percent": op.limit_percent,
    }
