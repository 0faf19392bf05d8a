"""Opens the adapters that a model is loaded with, and puts them into its graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from qrt.arch.adapters import LowRank, read_adapter
from qrt.arch.lora import with_adapters
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.graph.graph import Graph
from qrt.runtime.lora import MAX_ADAPTERS, Adapter, Asked

_TOLD = ("task_name", "prompt_prefix")


def open_adapters(
    graph: Graph, asked: Asked
) -> tuple[tuple[Adapter, ...], Graph, dict[str, QTensor]]:
    """The adapters, the graph with them in it, and the tensors of its new weights.

    Raises GGUFError, and ArchError where a file does not fit the model.
    """
    if not asked:
        return (), graph, {}
    adapters: list[Adapter] = []
    added: list[dict[str, LowRank]] = []
    with ExitStack() as files:
        for (path, scale), name in zip(asked, _names(path for path, _ in asked), strict=True):
            file = files.enter_context(open_gguf(path))
            added.append(read_adapter(file.metadata, file.tensors, path, graph))
            told = (file.metadata.get(f"adapter.lora.{key}") for key in _TOLD)
            texts = (text if isinstance(text, str) else "" for text in told)
            adapters.append(Adapter(name, path, scale, file.fingerprint(), *texts))
        return tuple(adapters), *with_adapters(graph, added)


def _names(paths: Iterator[str]) -> Iterator[str]:
    """Stems of the paths; those that occur again have a number."""
    taken: set[str] = set()
    for path in paths:
        stem = Path(path).stem
        tries = (stem, *(f"{stem}-{n}" for n in range(2, MAX_ADAPTERS + 2)))
        name = next(name for name in tries if name not in taken)
        taken.add(name)
        yield name
