"""Packs a model's weights ahead of its first start, checks or forgets them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from qrt.arch import build_graph
from qrt.backends.cpu.keeping import check_sidecar, make_sidecar, sidecar_path
from qrt.config import read_env
from qrt.errors import BackendError
from qrt.formats.gguf import open_gguf
from qrt.progress import Progress


@dataclass(frozen=True, slots=True)
class Packed:
    """A file of packed weights and the time that making or checking it took."""

    path: Path
    n_bytes: int
    seconds: float


def pack(model: str | os.PathLike[str], progress: Progress) -> Packed:
    """Keeps the packed weights of a GGUF file, for every later start to read.

    Raises GGUFError or ArchError for the file, BackendError where they cannot be kept.
    """
    begin = time.perf_counter()
    with open_gguf(model) as file:
        graph = build_graph(file.metadata, file.tensors, str(model))
        sidecar = make_sidecar(file, graph, progress)
    return Packed(sidecar.path, sidecar.n_bytes, time.perf_counter() - begin)


def check_packed(model: str | os.PathLike[str], progress: Progress) -> Packed:
    """Reads all of the packed weights of a GGUF file.

    Raises GGUFError or ArchError for the file, ModelError where they are damaged or not kept.
    """
    begin = time.perf_counter()
    with open_gguf(model) as file:
        graph = build_graph(file.metadata, file.tensors, str(model))
        sidecar = check_sidecar(file, graph, progress)
    return Packed(sidecar.path, sidecar.n_bytes, time.perf_counter() - begin)


def forget_packed(model: str | os.PathLike[str]) -> Path | None:
    """Deletes the packed weights of a GGUF file, which need not exist any more.

    Returns what was deleted, None where nothing was kept. Raises BackendError.
    """
    path = sidecar_path(Path(model), read_env())
    try:
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackendError(f"{path}: cannot be deleted: {error.strerror}") from None
    return path
