"""`qrt kl`: how far a model is from a reference, token by token."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from qrt.cli.arguments import located, model_file, only_model, output_format, read_text
from qrt.cli.bar import shown_bar
from qrt.cli.flags import ModelArgument, ModelFlag, QualityFlags
from qrt.cli.tables import wrapped
from qrt.errors import ModelError

if TYPE_CHECKING:
    from qrt.tools.kl import Divergence


def kl(
    base: Annotated[
        str,
        Option(
            "--base",
            metavar="OTHER",
            help="The reference: a GGUF file, or logits that `qrt perplexity` has saved.",
        ),
    ],
    flags: QualityFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    file: Annotated[
        str | None,
        Option("-f", "--file", metavar="FILE", help="The text; saved logits bring their own."),
    ] = None,
    output: Annotated[str, Option("-o", "--output", metavar="FORMAT", help="md or json.")] = "md",
) -> None:
    """Compare a model's predictions with a reference's.

    By KL divergence and top tokens. The text is cut and scored as by `qrt perplexity`. The
    divergence of a token is that of the model's probabilities from the reference's, in nats: 0
    where they are the same.
    """
    from qrt.tools.chunks import QualityOptions
    from qrt.tools.kl import kl as measure

    written = output_format(FORMATS, output)
    options = QualityOptions(**flags.keywords())
    path = model_file(only_model(model, model_flag))
    base_path = located(base)
    if not os.path.exists(base_path):
        raise ModelError(f"{base}: no such file")
    text = None if file is None else read_text(file)
    with shown_bar() as progress:
        result = measure(path, base_path, text, options, progress)
    for line in written(result):
        print(line, flush=True)


def as_markdown(result: Divergence) -> Iterator[str]:
    """One line on the run and a table of the measures."""
    chunks = f"{result.n_chunks} chunks of {result.n_ctx} tokens, {result.n_tokens} scored"
    names = f"{result.model_filename} beside {result.base_filename}"
    yield wrapped(f"{names}: {chunks}, KV {result.kv_type}", sys.stdout)
    yield ""
    yield "| measure | value | standard error |"
    yield "|---|--:|--:|"
    yield f"| KL divergence, mean | {result.kl_mean:.6f} | {result.kl_mean_error:.6f} |"
    yield f"| KL divergence, median | {result.kl_median:.6f} | |"
    yield f"| KL divergence, 99% | {result.kl_99:.6f} | |"
    yield f"| KL divergence, maximum | {result.kl_max:.6f} | |"
    yield f"| same top token | {result.same_top:.3%} | {result.same_top_error:.3%} |"
    yield f"| perplexity | {result.perplexity:.4f} | {result.perplexity_error:.4f} |"
    value, error = result.base_perplexity, result.base_perplexity_error
    yield f"| perplexity of the base | {value:.4f} | {error:.4f} |"


def as_json(result: Divergence) -> Iterator[str]:
    """The same as one JSON object."""
    yield json.dumps(asdict(result), indent=2)


FORMATS: dict[str, Callable[[Divergence], Iterator[str]]] = {"md": as_markdown, "json": as_json}
