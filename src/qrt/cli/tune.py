"""`qrt tune`: measures the choices that suit this machine, and keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from qrt.cli.arguments import only_model
from qrt.cli.flags import ModelFlag
from qrt.cli.progress import shown_progress

if TYPE_CHECKING:
    from qrt.tools.tune import Measured, Tuned


def tune(
    model: Annotated[
        str | None,
        Argument(metavar="MODEL", help="A GGUF file; without it, random weights of a 1B's shape."),
    ] = None,
    model_flag: ModelFlag = None,
    n_rounds: Annotated[
        int, Option("-r", "--rounds", metavar="N", help="Rounds that a candidate must win.")
    ] = 5,
    reset: Annotated[bool, Option("--reset", help="Go back to the defaults.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and keep what suits this machine.

    That is rows and threads of prefill, threads of decode. Takes 5 to 20 seconds on a machine that
    is idle otherwise, and changes speed, never a result. What wins every round by 5% or more is
    kept beside the compiled kernels and serves every model that is loaded later; -t and QRT_THREADS
    go before it. Nothing is measured unless this is run.
    """
    from qrt.backends.cpu.tuning import remove_tuning, tuning_path
    from qrt.config import read_env
    from qrt.tools.tune import tune as measure

    if reset:
        path = tuning_path(read_env())
        remove_tuning(path)
        print(f"{path}: removed; the defaults are in force")
        return
    with shown_progress() as progress:
        tuned = measure(only_model(model, model_flag), n_rounds, progress)
    if as_json:
        with open(tuned.path, encoding="utf-8") as file:
            print(json.dumps(json.load(file), indent=2))
    else:
        _print(tuned)


def _print(tuned: Tuned) -> None:
    from qrt.cli.tables import print_table

    head = ("choice", "default", "median ms of each candidate", "in force", "saves")
    print_table(f"Measured with {tuned.model}", [head, *map(_row, tuned.choices)], right=(1, 3, 4))
    if not all(choice.steady for choice in tuned.choices):
        print("Something else kept this machine busy: run it again when that is over.")
    print(f"kept in {tuned.path}; qrt tune --reset goes back to the defaults")


def _row(choice: Measured) -> tuple[str, ...]:
    times = ", ".join(f"{value}: {1e3 * s:.1f}" for value, s in choice.median_s.items())
    saved = f"{100 * choice.gain:.0f}%" if choice.winner != choice.default else ""
    verdict = saved if choice.steady else "unsteady"
    return choice.name, str(choice.default), times or "no other", str(choice.winner), verdict
