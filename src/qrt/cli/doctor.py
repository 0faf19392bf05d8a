"""`qrt doctor`: what this machine offers, what it lacks, and a quick check that all works."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from qrt.cli.flags import AnswerLoadFlags
from qrt.cli.loading import loaded
from qrt.cli.output import byte_size
from qrt.cli.progress import shown_progress
from qrt.errors import BackendError, QrtError

if TYPE_CHECKING:
    from qrt.tools.machine import Choice, Machine

_CHECK_TOKENS = 32


def doctor(as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False) -> None:
    """Examine this machine.

    CPU, instruction tiers, backends, threads and cache; then a quick check that all works.
    """
    from qrt.tools.machine import examine

    machine = examine()
    problems = list(machine.problems)
    checks: dict[str, str] = {}
    if not problems:
        for name, check in _CHECKS.items():
            try:
                checks[name] = check(machine)
            except QrtError as error:
                checks[name] = "failed"
                problems.append(f"{name}: {error}")
    if as_json:
        facts = {**asdict(machine), "checks": checks, "problems": problems}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _print(machine, checks)
    if problems:
        raise BackendError("; ".join(problems))


def _memory(machine: Machine) -> str:
    from qrt.backends.cpu.ceilings import measure_read_gb_s

    with shown_progress() as progress:
        gb_s = measure_read_gb_s(machine.n_threads, progress)
    return f"read at {gb_s:.1f} GB/s by {machine.n_threads} threads"


def _embedded_model(_: Machine) -> str:
    with loaded(None, AnswerLoadFlags()) as model:
        done = model.generate("def ", max_tokens=_CHECK_TOKENS, temperature=0, ignore_eos=True)
    return f"{len(done.tokens)} tokens at {done.timings.decode_tok_s:.0f} tok/s"


_CHECKS: dict[str, Callable[[Machine], str]] = {
    "memory": _memory,
    "embedded model": _embedded_model,
}


def _print(machine: Machine, checks: dict[str, str]) -> None:
    from qrt.cli.tables import print_table, print_tuning

    quota = "none" if machine.cgroup_cpus is None else f"{machine.cgroup_cpus:g} CPUs"
    free = machine.memory
    memory = "unknown" if free.n_bytes is None else f"{byte_size(free.n_bytes)} {free.limit}"
    print_table(
        "CPU",
        [
            ("name", machine.cpu),
            ("features", " ".join(machine.features)),
            ("threads", f"{machine.n_threads} by default; cgroup limit: {quota}"),
            ("free memory", memory),
        ],
    )
    print_table("Instruction tiers", [_row(tier, machine.tier) for tier in machine.tiers])
    print_table("Backends", [_row(backend, "cpu") for backend in machine.backends])
    if (cache := machine.cache) is not None:
        size = byte_size(cache.n_bytes)
        shipped = f"usual ones for {machine.tier}" if cache.is_shipped else "none"
        rows = [("directory", cache.directory), ("holds", f"{cache.n_kernels} kernels, {size}")]
        print_table("Compiled kernels", [*rows, ("came with qrt", shipped)])
    if machine.tuning is not None:
        print_tuning(machine.tuning)
    print_table("Versions", list(machine.versions.items()))
    print_table("Checks", list(checks.items()))


def _row(choice: Choice, used: str) -> tuple[str, str]:
    if choice.why_not:
        return choice.name, f"no: {choice.why_not}"
    return choice.name, "yes, in use" if choice.name == used else "yes"
