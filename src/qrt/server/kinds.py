"""What models are for: those that are loaded say it, of others the header of the file does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from qrt.errors import QrtError
from qrt.server.models import Entry

_N_KEPT = 1024


async def capabilities(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """By names of models: "completion", "embedding" or "rerank"; nothing where nobody can tell."""
    return await asyncio.to_thread(lambda: {entry.name: _of(entry) for entry in entries})


def _of(entry: Entry) -> list[str]:
    if entry.info is not None:
        return [_named(entry.info.pooling)]
    if entry.file is None:
        return []
    try:
        written = entry.file.stat()
    except OSError:
        return []
    found = _in_file(entry.file, (written.st_mtime_ns, written.st_size), entry.embedding)
    return [] if found is None else [found]


@lru_cache(_N_KEPT)
def _in_file(path: Path, _: tuple[int, int], embedding: bool | None) -> str | None:
    """What a file that was written then is for; None where it cannot be read."""
    from qrt.arch import build_graph
    from qrt.formats.gguf import open_gguf

    try:
        with open_gguf(path) as file:
            graph = build_graph(file.metadata, file.tensors, str(path), embedding=embedding)
    except QrtError:
        return None
    return _named(graph.pooling)


def _named(pooling: str | None) -> str:
    if pooling is None:
        return "completion"
    return "rerank" if pooling == "rank" else "embedding"
