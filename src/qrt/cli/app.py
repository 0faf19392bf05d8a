"""The commands by name. Whatever is heavy to import, a command imports when it runs."""

from __future__ import annotations

from typing import Annotated

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
from qrt.cli.flags import takes_flags
from qrt.cli.guard import guarded
from qrt.cli.interrupts import interruptible

app = typer.Typer(
    name="qrt",
    add_completion=False,
    no_args_is_help=True,
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
    app.command(_command.__name__.rstrip("_"))(guarded(interruptible(takes_flags(_command))))


def _print_version(wanted: bool) -> None:
    if wanted:
        print("qrt", __version__)
        raise typer.Exit


@app.callback()
def qrt(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Quantized language models at the speed of memory: a GGUF file in, text out."""
