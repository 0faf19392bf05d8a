"""`qrt embed`: texts as vectors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from qrt.cli.arguments import only_model, texts_from
from qrt.cli.bar import shown_bar
from qrt.cli.flags import LoadFlags, ModelFlag, PullFlag, in_output, in_prompt
from qrt.cli.output import note
from qrt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qrt.api import Model

_AT_ONCE = 256
"""Texts between two looks at how far it is."""

WordsArgument = Annotated[
    list[str] | None, Argument(metavar="[MODEL] [TEXT]...", help="The model, and texts.")
]
LinesFlag = Annotated[
    str | None, in_prompt("-f", "--file", metavar="FILE", help="A file with a text a line.")
]
TruncateFlag = Annotated[
    bool,
    in_prompt("--truncate", metavar=None, help="Cut texts that are longer than the context."),
]


def embed(
    load: LoadFlags,
    words: WordsArgument = None,
    model_flag: ModelFlag = None,
    file: LinesFlag = None,
    truncate: TruncateFlag = False,
    task: Annotated[
        str | None,
        in_prompt(
            "--task",
            metavar="NAME",
            help="What the texts are for: query, document ... Puts what the model wants before "
            "each, and uses the adapter of the task.",
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        in_output(
            "--pooling", metavar="HOW", help="mean, cls or last. Default: as the model says."
        ),
    ] = None,
    dim: Annotated[
        int | None, in_output("--dim", help="Only so many first values of each vector.")
    ] = None,
    normalize: Annotated[
        bool,
        in_output("--normalize/--no-normalize", metavar=None, help="Vectors of length 1: default."),
    ] = True,
    jsonl: Annotated[
        bool,
        in_output(
            "--jsonl",
            metavar=None,
            help="Print JSON objects with text and embedding; lines that are such objects are read "
            "as well, and keep their other fields.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        in_output(
            *("-o", "--output"),
            metavar="FILE",
            help="Write the vectors to FILE.npy, .jsonl, .parquet or .txt instead.",
        ),
    ] = None,
    yes: PullFlag = False,
) -> None:
    """Turn texts into vectors.

    A line of numbers for each text: arguments, or the lines of -f FILE or of what is piped in. A
    language model gives the mean of its hidden states.
    """
    from qrt.cli.vectors import json_line, plain_line, records_of, writer_of

    name, given = named_model(words, model_flag)
    write = None if output is None else writer_of(Path(output))
    path = only_model(name, None, yes=yes)
    is_json = jsonl or (file is not None and file.endswith(".jsonl"))
    records = records_of(texts_from(given, file), is_json=is_json)
    options: dict[str, Any] = {"pooling": pooling, "dim": dim, "normalize": normalize}
    options |= {"truncate": truncate, "task": task}
    if pooling == "none":
        raise InputError("--pooling none makes many vectors of a text; model.embed in Python does")
    with _vectors_of(path, load) as model:
        texts = [record.text for record in records]
        if write is not None:
            import numpy as np

            found = np.concatenate(list(_vectors(model, texts, options)))
            write(Path(str(output)), records, found)
            return
        line = json_line if jsonl else plain_line
        waiting = iter(records)
        for some in _vectors(model, texts, options):
            for vector in some:
                print(line(next(waiting), vector))


def named_model(words: list[str] | None, flag: str | None) -> tuple[str, list[str]]:
    """The model, and the words behind it. Raises InputError where none is named."""
    given = list(words or ())
    if flag is not None:
        return flag, given
    if not given:
        raise InputError("there is no model; give MODEL, a GGUF file or a name (qrt list)")
    return given[0], given[1:]


def _vectors_of(path: str | None, load: LoadFlags) -> Model:
    """The model at `path`, loaded to make vectors."""
    from qrt.api import load as load_model
    from qrt.cli.progress import shown_progress

    with shown_progress() as progress:
        model = load_model(path, **load.keywords(), embedding=True, progress=progress)
    if f"{model.info.arch}.pooling_type" not in model.metadata:
        note(sys.stderr, f"{model.info.name}: names no pooling, {model.info.pooling} is used")
    return model


def _vectors(
    model: Model, texts: list[str], options: dict[str, Any]
) -> Iterator[NDArray[np.float32]]:
    """Vectors (n, dim) of some of the texts at a time."""
    with shown_bar() as progress:
        for start in range(0, len(texts), _AT_ONCE):
            progress("embed texts", start, len(texts))
            yield model.embed(texts[start : start + _AT_ONCE], **options)
        progress("embed texts", len(texts), len(texts))
