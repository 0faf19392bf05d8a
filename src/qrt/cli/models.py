"""`qrt list`, `qrt show` and `qrt rm`: the models of this machine, by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from qrt.cli.completion import local_names
from qrt.cli.confirm import confirm
from qrt.cli.output import byte_size, printable
from qrt.cli.pull import YesFlag
from qrt.errors import InputError, MissingModelError, ModelError

JsonFlag = Annotated[bool, Option("--json", help="Print JSON.")]
_FITS = {True: "fits", False: "too large", None: ""}
NameArgument = Annotated[
    str,
    Argument(metavar="MODEL", help="A model's name, or a GGUF file.", autocompletion=local_names),
]


def list_(
    catalogue: Annotated[
        bool, Option("-a", "--all", help="Also the short names that qrt pull knows.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the models of this machine.

    What is in the Hugging Face cache, what was uploaded to `qrt serve`, and what LM Studio, Ollama
    and llama.cpp keep. Each name can stand for MODEL in every command. With --all, also the size of
    what can be fetched, and whether it fits into the memory that is free here.
    """
    from qrt.hub.places import PLACES
    from qrt.hub.shown import shown_names

    found = shown_names()
    known = _known(set(found.values())) if catalogue else []
    if as_json:
        rows: list[dict[str, Any]] = [
            {"name": name, "id": str(m), "path": str(m.path), "bytes": m.n_bytes}
            for m, name in found.items()
        ]
        print(json.dumps(rows + known, indent=2, ensure_ascii=False))
        return
    from qrt.cli.tables import print_table

    sizes = [(name, byte_size(m.n_bytes), PLACES[m.source].title) for m, name in found.items()]
    print_table("Models on this machine", sizes, right=(1,), spare=(2,))
    if catalogue:
        _print_known(known)
    elif not found:
        print("`qrt pull qwen3:4b` fetches one; `qrt list --all` shows more names")


def show(model: NameArgument) -> None:
    """Show what a model's name stands for.

    Where it is, its size and the memory it needs; for one that is not on this machine, what the
    hub offers.
    """
    from qrt.cli.arguments import located
    from qrt.cli.tables import print_table
    from qrt.hub.locate import no_such_file

    try:
        path = located(model)
    except MissingModelError:
        _show_offered(model)
        return
    if not os.path.exists(path):
        raise no_such_file(model)
    print_table(model, _local_facts(Path(path)))


def _show_offered(model: str) -> None:
    """What the hub has of a model that is not on this machine."""
    from qrt.cli.tables import print_table
    from qrt.hub.download import list_models
    from qrt.hub.nearest import asked_of_hub
    from qrt.hub.offer import estimate

    entry, name = asked_of_hub(model)
    listing = list_models(name.repo)
    facts = [("repository", listing.repo)]
    if arch := listing.arch or (entry.arch if entry else None):
        facts.append(("architecture", f"{arch}: {runs_or_not(arch)}"))
    print_table(f"{model}: not on this machine", facts)
    rows = [("", "GB", "memory", "here")]
    for m in sorted(listing.models, key=lambda m: m.n_bytes):
        needs = estimate(m.n_bytes, entry)
        sizes = _gigabytes(m.n_bytes), _gigabytes(needs.n_bytes)
        rows.append((m.quant or m.name, *sizes, _FITS[needs.fits]))
    print_table(f"qrt pull {name.repo}:...", rows, right=(1, 2))


def rm(model: NameArgument, yes: YesFlag = False) -> None:
    """Delete a model from the Hugging Face cache, or one that was uploaded to `qrt serve`.

    Files elsewhere, those of other tools too, are never deleted.
    """
    from qrt.cli.arguments import located
    from qrt.hub.cache import forget, is_cached
    from qrt.hub.own import is_own, remove
    from qrt.hub.quants import splits_of
    from qrt.tools.pack import forget_packed

    path = Path(located(model))
    if not path.exists():
        raise ModelError(f"{model}: no such model; qrt list shows those of this machine")
    if not (is_cached(path) or is_own(path)):
        raise InputError(f"{path}: is not in the Hugging Face cache; qrt deletes nothing elsewhere")
    files = [path.with_name(name) for name in splits_of(path.name)]
    if not confirm(f"Delete {path.name}" + f", {len(files)} files" * (len(files) > 1) + "?", yes):
        print("nothing was deleted")
        return
    forget_packed(path)
    n_bytes = forget(files) if is_cached(path) else remove(files)
    print(f"deleted {printable(model)}, {byte_size(n_bytes)}")


def _known(here: set[str]) -> list[dict[str, Any]]:
    """What qrt pull fetches by its short names, about how large, and the memory to run it."""
    from qrt.hub.catalogue import catalogue, runs
    from qrt.hub.offer import estimate

    rows = []
    for entry in catalogue().values():
        sizes = [entry.file_bytes(quant) for quant in entry.quants]
        needs = [estimate(size, entry) for size in sizes]
        rows.append(
            {
                "name": entry.name,
                "repo": entry.repo,
                "quant": entry.quant,
                "params": entry.params,
                "active": entry.active,
                "bytes": sizes[0],
                "memory_bytes": needs[0].n_bytes,
                "best_memory_bytes": needs[-1].n_bytes,
                "fits": needs[0].fits,
                "runs": runs(entry.arch),
                "is_here": entry.name in here,
            }
        )
    return rows


def _print_known(known: list[dict[str, Any]]) -> None:
    from qrt.cli.tables import print_table
    from qrt.free_memory import free_memory
    from qrt.hub.catalogue import KV_TOKENS

    rows = [("", "GB", "memory", "here", "parameters", "", "in Q8_0")]
    for model in known:
        active = f"-A{model['active']:g}B" if model["active"] else ""
        best = model["best_memory_bytes"]
        rows.append(
            (
                model["name"],
                _gigabytes(model["bytes"]),
                _gigabytes(model["memory_bytes"]),
                _here(model),
                f"{model['params']:g}B{active}",
                model["quant"],
                _gigabytes(best) if best != model["memory_bytes"] else "",
            )
        )
    free = free_memory().n_bytes
    of_free = "" if free is None else f"; {_gigabytes(free)} free here"
    title = f"For qrt pull, in GB: size, and memory at a context of {KV_TOKENS}{of_free}"
    print_table(title, rows, right=(1, 2, 6), spare=(6, 5, 4))


def _here(model: dict[str, Any]) -> str:
    """Whether a model of the catalogue is on this machine, can run and fits."""
    if not model["runs"]:
        return "cannot run yet"
    if model["is_here"]:
        return "on disk" if model["fits"] is not False else "on disk, too large"
    return _FITS[model["fits"]]


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f}"


def runs_or_not(arch: str) -> str:
    """A word on whether qrt can run an architecture."""
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
