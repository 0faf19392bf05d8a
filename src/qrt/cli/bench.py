"""`qrt bench`: speed of prompt and answer, in llama-bench's terms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from typer import Option

from qrt.cli.arguments import model_file, only_model, output_format
from qrt.cli.flags import KvFlags, ModelArgument, ModelFlag
from qrt.cli.progress import shown_progress
from qrt.errors import InputError

_MAX_VALUES = 64
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?:([+*])(\d{1,9}))?)?")


def bench(
    kv: KvFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    n_prompt: Annotated[
        str, Option("-p", "--n-prompt", metavar="LIST", help="Prompt tokens; 0 leaves it out.")
    ] = "512",
    n_gen: Annotated[
        str, Option("-n", "--n-gen", metavar="LIST", help="Answer tokens; 0 leaves it out.")
    ] = "128",
    n_depth: Annotated[
        str, Option("-d", "--n-depth", metavar="LIST", help="Tokens in the cache before.")
    ] = "0",
    n_threads: Annotated[
        str | None,
        Option(
            "-t", "--threads", metavar="LIST", help="Threads. Default: as tuned, or one per CPU."
        ),
    ] = None,
    repetitions: Annotated[
        int, Option("-r", "--repetitions", metavar="N", help="Times each test is run.")
    ] = 5,
    backend: Annotated[str, Option("--backend", metavar="NAME")] = "auto",
    output: Annotated[
        str, Option("-o", "--output", metavar="FORMAT", help="md, json, jsonl or csv.")
    ] = "md",
) -> None:
    """Measure tokens per second.

    LIST is 1,2 or a range as in 1-4, 1-8*2, 0-4096+1024.
    """
    from qrt.cli.bench_output import FORMATS
    from qrt.tools.bench import BenchOptions
    from qrt.tools.bench import bench as measure

    written = output_format(FORMATS, output)
    options = BenchOptions(
        n_threads=(None,) if n_threads is None else numbers("-t", n_threads),
        n_prompt=numbers("-p", n_prompt),
        n_gen=numbers("-n", n_gen),
        n_depth=numbers("-d", n_depth),
        repetitions=repetitions,
        backend=backend,
        **kv.keywords(),
    )
    path = model_file(only_model(model, model_flag))
    with shown_progress() as progress:
        for line in written(measure(path, options, progress)):
            print(line, flush=True)


def numbers(flag: str, text: str) -> tuple[int, ...]:
    """The numbers of a list as llama-bench writes it. Raises InputError."""
    found = [number for part in text.split(",") for number in _numbers(flag, part.strip())]
    if len(found) > _MAX_VALUES:
        raise InputError(f"{flag}: at most {_MAX_VALUES} numbers, got {len(found)}")
    return tuple(dict.fromkeys(found))


def _numbers(flag: str, part: str) -> Iterator[int]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise InputError(f"{flag}: expected numbers such as 1,2 or 1-8*2, got {part!r}")
    first, last, operator, operand = match.groups()
    value, end, step = int(first), int(last or first), int(operand or 1)
    if operator == "*" and (step < 2 or value < 1):
        raise InputError(f"{flag}: {part!r} never ends; multiply 1 or more by 2 or more")
    if operator == "+" and step < 1:
        raise InputError(f"{flag}: {part!r} never ends; add 1 or more")
    for _ in range(_MAX_VALUES + 1):
        if value > end:
            return
        yield value
        value = value * step if operator == "*" else value + step
