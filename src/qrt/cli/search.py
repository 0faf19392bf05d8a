"""`qrt search`: asks the Hugging Face hub for models by words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from qrt.cli.models import JsonFlag, runs_or_not
from qrt.cli.output import printable
from qrt.cli.tables import wrapped
from qrt.errors import InputError, ModelError

if TYPE_CHECKING:
    from qrt.hub.search import Hit

_MOST = 100


def search(
    words: Annotated[list[str], Argument(metavar="WORDS", help="What the name is to contain.")],
    limit: Annotated[int, Option("-n", "--limit", metavar="N", help="Repositories at most.")] = 10,
    as_json: JsonFlag = False,
) -> None:
    """Search the Hugging Face hub for models that qrt can read.

    Repositories of GGUF files, those with most downloads in the last 30 days first, and what each
    quantization takes in GB. `qrt pull OWNER/NAME:QUANT` fetches one.
    """
    if not 1 <= limit <= _MOST:
        raise InputError(f"--limit must be between 1 and {_MOST}, got {limit}")
    from qrt.hub.search import search as ask

    text = " ".join(words)
    hits = ask(text, limit)
    if as_json:
        print(json.dumps([_record(hit) for hit in hits], indent=2, ensure_ascii=False))
        return
    if not hits:
        raise ModelError(f"{text}: the hub has no GGUF model of this name")
    for hit in hits:
        print(wrapped(_title(hit), sys.stdout, ("", "    ")))
        print(wrapped(_sizes(hit), sys.stdout, ("  ", "  ")))
    print(f"fetch one: qrt pull {hits[0].repo}:QUANT")


def _title(hit: Hit) -> str:
    arch = hit.listing.arch if hit.listing else None
    words = [hit.repo, f"{hit.n_downloads:,} downloads"]
    if arch:
        words.append(printable(f"{arch}: {runs_or_not(arch)}"))
    return ", ".join(words)


def _sizes(hit: Hit) -> str:
    if hit.listing is None:
        return "its files are not shown to everyone"
    sizes = (f"{name} {n_bytes / 1e9:.2f}" for name, _, n_bytes in _models(hit))
    return ", ".join(sizes) + " GB" if hit.listing.models else "no model that is whole"


def _models(hit: Hit) -> Iterator[tuple[str, str, int]]:
    """(quantization or file, file, bytes) of each model, the smallest first."""
    models = hit.listing.models if hit.listing else ()
    quants = [model.quant for model in models]
    for model in sorted(models, key=lambda model: model.n_bytes):
        is_enough = model.quant is not None and quants.count(model.quant) == 1
        yield (str(model.quant) if is_enough else model.name), model.name, model.n_bytes


def _record(hit: Hit) -> dict[str, object]:
    from qrt.hub.catalogue import runs

    arch = hit.listing.arch if hit.listing else None
    return {
        "repo": hit.repo,
        "downloads": hit.n_downloads,
        "arch": arch,
        "runs": None if arch is None else runs(arch),
        "models": [
            {"name": f"{hit.repo}:{name}", "file": file, "bytes": n_bytes}
            for name, file, n_bytes in _models(hit)
        ],
    }
