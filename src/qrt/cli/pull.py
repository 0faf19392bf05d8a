"""`qrt pull`: fetches a model from the Hugging Face hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from qrt.cli.arguments import is_terminal
from qrt.cli.confirm import confirm
from qrt.cli.output import byte_size, printable
from qrt.progress import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

    from qrt.hub.catalogue import Entry

YesFlag = Annotated[bool, Option("-y", "--yes", help="Do not ask.")]


def pull(
    model: Annotated[
        str,
        Argument(metavar="MODEL", help="OWNER/NAME, OWNER/NAME:QUANT, OWNER/NAME:FILE or a name."),
    ],
    yes: YesFlag = False,
) -> None:
    """Fetch a model from the Hugging Face hub.

    All files of it go into the cache that other tools share, and are checked. Without QUANT it is
    Q4_K_M. A download that was interrupted goes on where it ended. HF_ENDPOINT, HF_HOME, HF_TOKEN
    and HF_HUB_OFFLINE are respected.
    """
    from qrt.hub.catalogue import asked_of_hub
    from qrt.hub.download import fetch, is_offline, list_models
    from qrt.hub.locate import cached
    from qrt.hub.places import cached_models
    from qrt.hub.quants import DEFAULT_QUANT, choose

    entry, name = asked_of_hub(model)
    preferred = entry.quant if entry else DEFAULT_QUANT
    if is_offline() and cached_models(name.repo):
        print(f"HF_HUB_OFFLINE is set; kept in {printable(str(cached(name, model, preferred)))}")
        return
    listing = list_models(name.repo)
    chosen = choose(listing.models, name, preferred)
    n_files = len(chosen.files)
    print(f"{name.repo}: {chosen.name}" + (f", {n_files} files" * (n_files > 1)))
    print(memory_line(chosen.n_bytes, entry), flush=True)
    if not confirmed_arch(listing.arch or (entry.arch if entry else None), yes):
        return
    with _shown_download() as progress:
        path = fetch(name.repo, chosen.files, progress)
    print(f"kept in {printable(str(path))}\nrun it: qrt run {model}")


def memory_line(n_bytes: int, entry: Entry | None) -> str:
    """The size of a file and the memory that running it needs."""
    from qrt.hub.catalogue import KV_TOKENS

    size = byte_size(n_bytes)
    if entry is None:
        return f"{size}; to run, about as much memory and that of the context"
    kv = byte_size(entry.kv_bytes)
    total = byte_size(n_bytes + entry.kv_bytes)
    return f"{size}; to run, about {total} of memory, {kv} of it for a context of {KV_TOKENS}"


def confirmed_arch(arch: str | None, yes: bool) -> bool:
    """Whether to go on: at once for an architecture that qrt runs, else if the person says so."""
    from qrt.hub.catalogue import runs

    if arch is None or runs(arch):
        return True
    return confirm(f"qrt cannot run the architecture {arch} yet. Fetch it all the same?", yes)


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
    with Progress(*columns, console=Console(file=sys.stderr)) as shown:

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(printable(what), total=total)
            shown.update(tasks[what], completed=done)

        yield progress
