"""The commands by name. Whatever is heavy to import, a command imports when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qrt import __version__
from qrt.cli import (
    bench,
    complete,
    doctor,
    info,
    kl,
    models,
    pack,
    perplexity,
    profile,
    pull,
    run,
    search,
    tokens,
    tune,
)
from qrt.cli.command import Command, Group
from qrt.cli.flags import takes_flags
from qrt.cli.guard import guarded
from qrt.cli.help import EXAMPLES, FIRST_STEPS
from qrt.cli.interrupts import interruptible

app = typer.Typer(
    name="qrt",
    cls=Group,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    *(run.run, complete.complete, info.info),
    *(pull.pull, search.search, models.list_, models.show, models.rm),
    *(tokens.tokenize, bench.bench, profile.profile, perplexity.perplexity, kl.kl),
    *(tune.tune, pack.pack, doctor.doctor),
):
    _name = _command.__name__.rstrip("_")
    app.command(_name, cls=Command, epilog=EXAMPLES[_name])(
        guarded(interruptible(takes_flags(_command)))
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        print("qrt", __version__)
        raise typer.Exit


@app.command("help", hidden=True, cls=Command)
def _help(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(metavar="COMMAND")] = None,
) -> None:
    """Say how to begin, or show the help of COMMAND."""
    if command is None:
        print(FIRST_STEPS, end="")
        return
    group: Any = context.parent
    _, found, _ = group.command.resolve_command(group, [command])
    with found.make_context(command, [], parent=group, resilient_parsing=True) as shown:
        print(shown.get_help())


@app.callback(invoke_without_command=True)
def qrt(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Quantized language models at the speed of memory: a GGUF file in, text out."""
    if context.invoked_subcommand is None and not version:
        print(FIRST_STEPS, end="")
