"""`qrt pull`: fetches a model from the Hugging Face hub."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TextIO

from typer import Argument, Option

from qrt.cli.arguments import is_terminal
from qrt.cli.completion import short_names
from qrt.cli.confirm import can_ask, confirm
from qrt.cli.output import byte_size, printable
from qrt.cli.tables import terminal_width
from qrt.errors import ArchError, MissingModelError
from qrt.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import TaskID

    from qrt.hub.offer import Estimate, Offer

_BAR_WIDTH = 50
"""Columns of a bar with its figures, beside the name of the file."""

_LEAST_NAME = 12

YesFlag = Annotated[bool, Option("-y", "--yes", help="Do not ask.")]


def pull(
    model: Annotated[
        str,
        Argument(
            metavar="MODEL",
            help="A name, OWNER/NAME, with :QUANT or :FILE, or a link.",
            autocompletion=short_names,
        ),
    ],
    yes: YesFlag = False,
) -> None:
    """Fetch a model from the Hugging Face hub.

    All files of it go into the cache that other tools share, and are checked. Without QUANT it is
    Q4_K_M, or what is nearest to it. A download that was interrupted goes on where it ended.
    HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are respected.
    """
    from qrt.hub.download import is_offline
    from qrt.hub.locate import cached
    from qrt.hub.nearest import asked_of_hub
    from qrt.hub.offer import ask
    from qrt.hub.places import cached_models

    entry, name = asked_of_hub(model)
    if is_offline() and cached_models(name.repo):
        print(f"HF_HUB_OFFLINE is set; kept in {printable(str(cached(name, model, entry)))}")
        return
    offer = ask(model)
    _tell(offer, sys.stdout)
    if not offer.runs and not confirm(f"{_cannot_run(offer)}. Fetch it all the same?", yes):
        return
    path = _fetched(offer)
    print(f"kept in {printable(str(path))}\nrun it: qrt run {shlex.quote(model)}")


def pulled(model: str, missing: MissingModelError, yes: bool) -> str:
    """The path of a model that was missing, fetched if `yes`, or the person there, says so.

    Raises `missing` where nobody can be asked, or the answer is no; ArchError for a model that
    qrt cannot run.
    """
    if not yes and not can_ask():
        raise missing
    from qrt.hub.offer import ask

    print(f"{printable(model)} is not on this machine", file=sys.stderr, flush=True)
    offer = ask(model)
    _tell(offer, sys.stderr)
    if not offer.runs:
        raise ArchError(f"{model}: {_cannot_run(offer)}; `qrt pull` fetches it all the same")
    fits = offer.needs.fits is not False
    if not confirm("Pull it?" if fits else "Pull it all the same?", yes, default=fits):
        raise missing
    return str(_fetched(offer))


def memory_lines(needs: Estimate) -> str:
    """The size of a file, the memory that running it needs, and what is free beside it."""
    from qrt.hub.catalogue import KV_TOKENS

    line = f"{byte_size(needs.file_bytes)}; to run, "
    if needs.kv_bytes is None:
        line += f"about {byte_size(needs.n_bytes)} of memory and that of the context"
    else:
        kv = f"{byte_size(needs.kv_bytes)} of it for a context of {KV_TOKENS}"
        line += f"about {byte_size(needs.n_bytes)} of memory, {kv}"
    if needs.free_bytes is None:
        return line
    verdict = "it fits" if needs.fits else "all of it does not fit, --pack reads it from the disk"
    return f"{line}\n{byte_size(needs.free_bytes)} are free here: {verdict}"


def _tell(offer: Offer, out: TextIO) -> None:
    n_files = len(offer.model.files)
    files = f", {n_files} files" * (n_files > 1)
    print(f"{offer.repo}: {offer.model.name}{files}", file=out)
    print(memory_lines(offer.needs), file=out, flush=True)


def _cannot_run(offer: Offer) -> str:
    return f"qrt cannot run the architecture {offer.arch} yet"


def _fetched(offer: Offer) -> Path:
    with _shown_download() as progress:
        return offer.fetch(progress)


@contextmanager
def _shown_download() -> Iterator[Progress]:
    """Gives the callback to pass on: a bar a file in a terminal, else nothing."""
    if not is_terminal(sys.stderr):
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        *(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
    )
    tasks: dict[str, TaskID] = {}
    width = terminal_width(sys.stderr)
    room = max((width or 0) - _BAR_WIDTH, _LEAST_NAME)
    with Progress(*columns, console=Console(file=sys.stderr, width=width)) as shown:

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(_shortened(printable(what), room), total=total)
            shown.update(tasks[what], completed=done)

        yield progress


def _shortened(what: str, room: int) -> str:
    """A file that is fetched, or "checking" and a file, with the end of its name if need be."""
    if len(what) <= room:
        return what
    doing, space, name = what.rpartition(" ")
    return f"{doing}{space}...{name[-max(room - len(doing) - 4, 8) :]}"
