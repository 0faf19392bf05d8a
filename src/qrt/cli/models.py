"""`qrt list`, `qrt show` and `qrt rm`: the models of this machine, by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from qrt.cli.confirm import confirm
from qrt.cli.output import byte_size, printable
from qrt.cli.pull import YesFlag, memory_line
from qrt.errors import InputError, ModelError

if TYPE_CHECKING:
    from qrt.hub.places import LocalModel

JsonFlag = Annotated[bool, Option("--json", help="Print JSON.")]
NameArgument = Annotated[str, Argument(metavar="MODEL", help="A model's name, or a GGUF file.")]


def list_(
    catalogue: Annotated[
        bool, Option("-a", "--all", help="Also the short names that qrt pull knows.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the models of this machine.

    What is in the Hugging Face cache, and what LM Studio, Ollama and llama.cpp keep. Each name can
    stand for MODEL in every command.
    """
    from qrt.hub.catalogue import KV_TOKENS
    from qrt.hub.places import PLACES

    found = [model for place in PLACES.values() for model in place.models()]
    if as_json:
        rows = [
            {"name": _shown_name(m), "id": str(m), "path": str(m.path), "bytes": m.n_bytes}
            for m in found
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from qrt.cli.tables import print_table

    sizes = [(_shown_name(m), byte_size(m.n_bytes), PLACES[m.source].title) for m in found]
    print_table("Models on this machine", sizes, right=(1,))
    if catalogue:
        title = f"For qrt pull: about how large, and memory in GB at a context of {KV_TOKENS}"
        print_table(title, _known_rows(), right=(3, 4, 5))
    elif not found:
        print("`qrt pull qwen3:4b` fetches one; `qrt list --all` shows more names")


def show(model: NameArgument) -> None:
    """Show what a model's name stands for.

    Where it is, its size and the memory it needs; for one that is not on this machine, what the
    hub offers.
    """
    from qrt.cli.arguments import located
    from qrt.cli.tables import print_table

    missing = ModelError(f"{model}: no such model; qrt list shows those of this machine")
    try:
        path = located(model)
    except ModelError as error:
        path, missing = model, error
    if os.path.exists(path):
        print_table(model, _local_facts(Path(path)))
        return
    from qrt.hub.catalogue import asked_of_hub
    from qrt.hub.download import list_models

    try:
        entry, name = asked_of_hub(model)
    except InputError:
        raise missing from None
    facts = [("repository", name.repo)]
    if entry:
        facts.append(("architecture", f"{entry.arch}: {_runs(entry.arch)}"))
    print_table(f"{model}: not on this machine", facts)
    listing = list_models(name.repo)
    if entry is None and listing.arch:
        print_table("Architecture", [(listing.arch, _runs(listing.arch))])
    rows = [(m.quant or m.name, memory_line(m.n_bytes, entry)) for m in listing.models]
    print_table(f"qrt pull {name.repo}:...", rows)


def rm(model: NameArgument, yes: YesFlag = False) -> None:
    """Delete a model from the Hugging Face cache.

    Files elsewhere, those of other tools too, are never deleted.
    """
    from qrt.cli.arguments import located
    from qrt.hub.cache import forget, is_cached
    from qrt.hub.quants import splits_of
    from qrt.tools.pack import forget_packed

    path = Path(located(model))
    if not path.exists():
        raise ModelError(f"{model}: no such model; qrt list shows those of this machine")
    if not is_cached(path):
        raise InputError(f"{path}: is not in the Hugging Face cache; qrt deletes nothing elsewhere")
    files = [path.with_name(name) for name in splits_of(path.name)]
    if not confirm(f"Delete {path.name}" + f", {len(files)} files" * (len(files) > 1) + "?", yes):
        print("nothing was deleted")
        return
    forget_packed(path)
    print(f"deleted {printable(model)}, {byte_size(forget(files))}")


def _shown_name(model: LocalModel) -> str:
    """The shortest name of a model."""
    from qrt.hub.catalogue import short_name
    from qrt.hub.places import HUB
    from qrt.hub.quants import HubFile, HubModel

    if model.source != HUB:
        return str(model)
    owner, name, file = model.name.split("/", 2)
    quant = HubModel((HubFile(file, model.n_bytes),)).quant
    return short_name(f"{owner}/{name}", quant) or str(model)


def _known_rows() -> list[tuple[str, ...]]:
    """The short names with what qrt pull fetches, about how large, and the memory to run it."""
    from qrt.hub.catalogue import catalogue

    rows: list[tuple[str, ...]] = [("", "parameters", "", "GB", "memory", "in Q8_0")]
    for entry in catalogue().values():
        active = f"-A{entry.active:g}B" if entry.active else ""
        sizes = [entry.file_bytes(quant) for quant in entry.quants]
        memory = [_gigabytes(size + entry.kv_bytes) for size in sizes]
        params = f"{entry.params:g}B{active}"
        rows.append((entry.name, params, entry.quant, _gigabytes(sizes[0]), *memory))
    return rows


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f}"


def _runs(arch: str) -> str:
    from qrt.hub.catalogue import runs

    return "runs" if runs(arch) else f"qrt cannot run {arch} yet"


def _local_facts(path: Path) -> list[tuple[str, str]]:
    from qrt.tools.describe import describe

    found = describe(path)
    facts = [
        ("file", str(path)),
        ("architecture", str(found.metadata.get("general.architecture"))),
        ("parameters", f"{found.n_params:,}"),
        ("size", byte_size(found.file_bytes)),
    ]
    if found.running is None:
        return [*facts, ("runs", f"no: {found.why_not}")]
    memory = found.running.memory
    kv_bytes = byte_size(found.running.state_bytes(memory.n_ctx))
    needs = f"about {byte_size(memory.n_bytes)}, {kv_bytes} for a context of {memory.n_ctx}"
    return [*facts, ("memory", f"{needs}; {memory.verdict}")]
