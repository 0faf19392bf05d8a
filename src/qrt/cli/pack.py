"""`qrt pack`: keeps a model's packed weights, so that later starts map them instead of packing."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from qrt.cli.arguments import located, model_file
from qrt.cli.flags import ModelArgument
from qrt.cli.output import byte_size, printable
from qrt.cli.progress import shown_progress


def pack(
    model: ModelArgument = None,
    remove: Annotated[
        bool, Option("--remove", help="Delete what is kept; the model need not exist any more.")
    ] = False,
) -> None:
    """Keep a model's packed weights for faster starts.

    They take about as much of the disk as the model, in the cache directory, and are used until
    the model changes.
    """
    from qrt.tools.pack import forget_packed
    from qrt.tools.pack import pack as keep

    path = model_file(None if model is None else located(model))
    if remove:
        gone = forget_packed(path)
        print(f"deleted {printable(str(gone))}" if gone else "nothing was kept")
        return
    with shown_progress() as progress:
        packed = keep(path, progress)
    size = byte_size(packed.n_bytes)
    print(f"{printable(str(packed.path))}: {size} in {packed.seconds:.1f} s")
