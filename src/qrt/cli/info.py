"""`qrt info`: what a model file holds and how it would run here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from qrt.cli.arguments import model_file, only_model
from qrt.cli.flags import KvFlags, ModelArgument, ModelFlag
from qrt.cli.output import byte_size, option_rows

if TYPE_CHECKING:
    from qrt.tools.describe import Description, Running


def info(
    kv: KvFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is in a model.

    Its metadata, tensors and sizes, and where each op of it would run.
    """
    from qrt.tools.describe import describe

    found = describe(model_file(only_model(model, model_flag)), **kv.keywords())
    if as_json:
        why_not = None if found.why_not is None else str(found.why_not)
        print(json.dumps({**asdict(found), "why_not": why_not}, indent=2, ensure_ascii=False))
    else:
        _print(found)
    if found.why_not is not None:
        raise found.why_not


def _print(found: Description) -> None:
    from qrt.cli.tables import print_table

    rows = [(key, str(value)) for key, value in found.metadata.items()]
    print_table(f"{found.path}: GGUF version {found.gguf_version}", rows)
    tensors = [
        (t.qtype, f"{t.n_tensors} tensors", f"{t.n_params:,} parameters", byte_size(t.n_bytes))
        for t in found.tensors
    ]
    n_tensors = sum(t.n_tensors for t in found.tensors)
    total = f"{found.n_params:,} parameters"
    tensors.append(("total", f"{n_tensors} tensors", total, byte_size(found.file_bytes)))
    print_table("Tensors", tensors, right=(1, 2, 3))
    if found.sampling:
        print_table("Recommended sampling", option_rows(found.sampling))
    if found.running is not None:
        _print_running(found.running, found.n_params)


def _of_vectors(running: Running) -> list[tuple[str, str]]:
    """What a model makes of texts that gives no answers."""
    if running.pooling is None:
        return []
    if running.pooling == "rank":
        return [("reranker", "scores of texts for a query")]
    return [("embedding", f"{running.embedding_dim} values, pooling {running.pooling}")]


def _print_running(running: Running, n_params: int) -> None:
    from qrt.cli.tables import print_table, print_tuning
    from qrt.tools.bench import short_count

    n_ctx, kv_bytes, memory = running.n_ctx_train, running.kv_bytes_per_token, running.memory
    fixed = running.fixed_state_bytes
    free = "unknown" if memory.free_bytes is None else byte_size(memory.free_bytes)
    total, active = short_count(n_params), short_count(running.n_active_params)
    facts = [
        ("layers", f"{running.n_layers} of dim {running.dim}"),
        *_of_vectors(running),
        ("vocabulary", f"{running.n_vocab} tokens"),
        ("parameters", total if total == active else f"{total}, {active} active"),
        ("weights read per token", byte_size(running.weight_bytes_per_token)),
        (f"KV per token ({running.kv_type})", byte_size(kv_bytes)),
        *([("states of a sequence", byte_size(fixed))] if fixed else []),
        (f"a sequence of {n_ctx} tokens", byte_size(running.state_bytes(n_ctx))),
        (f"memory at context {memory.n_ctx}", byte_size(memory.n_bytes)),
        ("free memory", f"{free} {memory.limit}"),
        ("", memory.verdict),
    ]
    print_table("Running", facts)
    print_tuning(running.tuning)
    rows = [
        (kind, f"{count}x", where)
        for kind, places in running.placement.items()
        for where, count in places.items()
    ]
    print_table("Where each op runs", rows, right=(1,))
