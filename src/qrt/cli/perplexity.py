"""`qrt perplexity`: how well a model foretells a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from qrt.cli.arguments import model_file, only_model, output_format, read_text
from qrt.cli.bar import shown_bar
from qrt.cli.flags import ModelArgument, ModelFlag, QualityFlags
from qrt.cli.tables import Column, MarkdownTable

if TYPE_CHECKING:
    from qrt.tools.perplexity import Perplexity


def perplexity(
    file: Annotated[str, Option("-f", "--file", metavar="FILE", help="The text, in UTF-8.")],
    flags: QualityFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    save_logits: Annotated[
        str | None,
        Option(
            "--save-logits",
            metavar="FILE",
            help="Keep the logits for `qrt kl --base FILE`. Large: 2 bytes for each token of the "
            "text and each of the vocabulary.",
        ),
    ] = None,
    output: Annotated[str, Option("-o", "--output", metavar="FORMAT", help="md or json.")] = "md",
) -> None:
    """Measure a model's perplexity on a text.

    As llama-perplexity does: the text is cut into chunks, each begins with BOS where the vocabulary
    has it and runs from an empty context, and the second half of each is scored. Values compare
    only for the same text, context and vocabulary.
    """
    from qrt.tools.chunks import QualityOptions
    from qrt.tools.perplexity import perplexity as measure

    written = output_format(FORMATS, output)
    options = QualityOptions(**flags.keywords())
    path = model_file(only_model(model, model_flag))
    text = read_text(file)
    save_to = None if save_logits is None else Path(save_logits)
    with shown_bar() as progress:
        result = measure(path, text, options, progress, save_to)
    for line in written(result):
        print(line, flush=True)


_TEXTS = ("model", "KV")


def as_markdown(result: Perplexity) -> Iterator[str]:
    """A table of one row."""
    cells = {
        "model": result.model_filename,
        "KV": result.kv_type,
        "context": str(result.n_ctx),
        "chunks": str(result.n_chunks),
        "tokens scored": str(result.n_tokens),
        "perplexity": f"{result.perplexity:.4f} ± {result.perplexity_error:.4f}",
    }
    columns = [
        Column(title, max(len(title), len(cell)), itemgetter(title), title not in _TEXTS, True)
        for title, cell in cells.items()
    ]
    table = MarkdownTable(columns, ("model", "KV", "context", "chunks"))
    yield from table.head(cells)
    yield table.row(cells)


def as_json(result: Perplexity) -> Iterator[str]:
    """The same as one JSON object."""
    yield json.dumps(asdict(result), indent=2)


FORMATS: dict[str, Callable[[Perplexity], Iterator[str]]] = {"md": as_markdown, "json": as_json}
