"""`qrt pack`: keeps a model's packed weights, so that later starts map them instead of packing."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from qrt.cli.arguments import located, model_file
from qrt.cli.flags import ModelArgument
from qrt.cli.output import byte_size, printable
from qrt.cli.progress import shown_progress
from qrt.errors import InputError


def pack(
    model: ModelArgument = None,
    check: Annotated[
        bool, Option("--check", help="Read what is kept, and compare its checksums.")
    ] = False,
    remove: Annotated[
        bool, Option("--remove", help="Delete what is kept; the model need not exist any more.")
    ] = False,
) -> None:
    """Keep a model's packed weights on disk.

    For faster starts, and for models larger than memory. They take about as much of the disk as the
    model, in the cache directory, and are used until the model changes. Little memory is used
    meanwhile.
    """
    from qrt.tools.pack import check_packed, forget_packed
    from qrt.tools.pack import pack as keep

    if check and remove:
        raise InputError("--check and --remove exclude each other")
    path = model_file(None if model is None else located(model))
    if remove:
        gone = forget_packed(path)
        print(f"deleted {printable(str(gone))}" if gone else "nothing was kept")
        return
    with shown_progress() as progress:
        packed = (check_packed if check else keep)(path, progress)
    size, seconds = byte_size(packed.n_bytes), f"{packed.seconds:.1f} s"
    done = f"as it was written, read in {seconds}" if check else f"in {seconds}"
    print(f"{printable(str(packed.path))}: {size} {done}")
