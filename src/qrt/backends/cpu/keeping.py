"""Where the matrices of a model come from: packed now, or kept in a sidecar, all or some mapped."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from qrt.backends.base import Room, Settings
from qrt.backends.cpu.mapped import Mapped
from qrt.backends.cpu.packing import packing_kernels
from qrt.backends.cpu.sidecar import Kept, Sidecar, Split, sidecar_of
from qrt.backends.cpu.weights import Matrix, Weight, matrix_bytes, matrix_names, matrix_types
from qrt.config import Env, cache_dir, default_threads, read_env
from qrt.errors import BackendError, ModelError
from qrt.formats.gguf import GGUFFile
from qrt.formats.qtensor import QTensor
from qrt.graph.graph import Graph
from qrt.kernels.isa import choose
from qrt.kernels.objects import Library, load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team
from qrt.progress import Progress

_FOR_PAGES = 1 << 28
"""Of the memory that there is for weights, what is left to those that are read as they are used: at
most half of it to what is staged."""


def sidecar_path(model: Path, env: Env) -> Path:
    """Where the packed weights of a model file are kept: in the cache, which is private.

    The folder of the model may be shared, or not ours to write to.
    """
    real = os.path.realpath(model)
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return cache_dir(env) / "packed" / f"{Path(real).stem[:40]}-{digest}.panels"


def keeps(settings: Settings, env: Env) -> bool:
    """Whether matrices come from a sidecar, which is made where there is none.

    Where `settings` or QRT_PACK_CACHE say so, or, if they say nothing, where one is there.
    """
    asked = env.pack_cache if settings.pack is None else settings.pack
    if settings.file is None or asked is not None:
        return bool(settings.file and asked)
    return os.path.lexists(sidecar_path(settings.file.path, env))


def check_room(graph: Graph, tensors: Mapping[str, QTensor], settings: Settings, env: Env) -> None:
    """Raises BackendError where matrices need more memory than there is, and are not kept."""
    if settings.room is None or keeps(settings, env):
        return
    sizes = matrix_bytes(graph, tensors)
    need = f"packed weights need {sum(sizes.values()) / 1e9:.2f} GB"
    have = f"there are {settings.room} for them"
    if settings.file is None:
        raise BackendError(f"{need}, {have}; take a smaller model or quantization")
    read = _read_bytes(graph, sizes, split(graph, sizes, settings.room)) / 1e9
    path = settings.file.path
    raise BackendError(
        f"{path}: {need}, {have}; --pack (pack=True in Python), or `qrt pack` once, keeps them in "
        f"{sidecar_path(path, env)}, and what does not fit is read from there as it is used: "
        f"about {read:.2f} GB for each token"
    )


def shares(graph: Graph) -> Mapping[str, float]:
    """How much of each matrix a decoded token reads, counted anew for each op."""
    found: dict[str, float] = defaultdict(float)
    for op in graph.ops:
        weights = op.work(graph.widths, 1, 0).weights
        for use in op.weights(graph.widths):
            found[use.name] += 1.0 if weights is None else weights.get(use.name, 0.0)
    return found


def split(graph: Graph, sizes: Mapping[str, int], room: Room) -> Split:
    """The matrices to hold in `room`, and those to stage.

    Of those that every token reads all of, as many as fit are held, the largest first, and the
    others staged. The rest is mapped: the system keeps what was read last, which serves experts and
    tables well.
    """
    held, staged, left = [], [], room.n_bytes - _FOR_PAGES
    every = shares(graph)
    tables = {use.name for use in graph.uses() if use.role == "table"}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if every[name] < 1:
            continue
        if size <= left:
            held.append(name)
            left -= size
        elif name not in tables and size <= _FOR_PAGES // 2:
            staged.append(name)
    return Split(held, staged, max(0, left + _FOR_PAGES // 2))


def _read_bytes(graph: Graph, sizes: Mapping[str, int], where: Split) -> float:
    """Bytes that a decoded token reads of matrices that are not in memory."""
    every = shares(graph)
    return sum(min(1.0, every[name]) * sizes[name] for name in sizes.keys() - {*where.held})


def with_sidecar(
    graph: Graph,
    settings: Settings,
    env: Env,
    library: Library,
    team: Team,
    progress: Progress,
    load: Callable[[Mapping[str, Matrix]], dict[str, Weight]],
) -> tuple[dict[str, Weight], Mapped | None]:
    """What `load` makes of the matrices that are kept, and the file that they are mapped from.

    Raises BackendError where they cannot be kept and there is no room for them in memory.
    """
    file = settings.file
    if file is None or not keeps(settings, env):
        return load({}), None
    sidecar = sidecar_of(file, settings.whole or graph, sidecar_path(file.path, env))
    kept = _opened(sidecar, graph, settings, library, team)
    if kept is None:
        try:
            sidecar.write(file.tensors, library, team, progress)
        except BackendError as error:
            if settings.room is not None:
                raise
            logging.getLogger("qrt").warning(str(error))
            return load({}), None
        kept = _opened(sidecar, graph, settings, library, team)
        if kept is None:
            raise BackendError(f"{sidecar.path}: was damaged as soon as it was written")
    return load(kept.matrices), kept.mapped


def _opened(
    sidecar: Sidecar, graph: Graph, settings: Settings, library: Library, team: Team
) -> Kept | None:
    sizes = {name: end - at for name, (at, end) in sidecar.places.items()}
    sizes = {name: sizes[name] for name in matrix_names(graph) if name in sizes}
    where = None if settings.room is None else split(graph, sizes, settings.room)
    kept = sidecar.open(list(sizes), where, library, team)
    if kept is not None and where is not None:
        read = _read_bytes(graph, sizes, where) / 1e9
        logging.getLogger("qrt").warning(
            f"packed weights take {sum(sizes.values()) / 1e9:.2f} GB, there are {settings.room} "
            f"for them: each token reads about {read:.2f} GB from {sidecar.path}"
        )
    return kept


def make_sidecar(file: GGUFFile, graph: Graph, progress: Progress) -> Sidecar:
    """Packs an open model, whether or not that was kept before, and keeps it.

    Raises BackendError where kernels or packed weights cannot be kept.
    """
    sidecar = _sidecar(file, graph)
    with _team(file, graph, progress) as (library, team):
        sidecar.write(file.tensors, library, team, progress)
    return sidecar


def check_sidecar(file: GGUFFile, graph: Graph, progress: Progress) -> Sidecar:
    """Reads all that is kept of an open model.

    Raises ModelError where nothing is, or not what was written.
    """
    sidecar = _sidecar(file, graph)
    with _team(file, graph, progress) as (library, team):
        try:
            is_whole = sidecar.is_whole(library, team, progress)
        except FileNotFoundError:
            raise ModelError(f"{file.path}: nothing is kept of it; `qrt pack` does") from None
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(f"{sidecar.path}: cannot be read: {reason}") from None
    if not is_whole:
        raise ModelError(
            f"{sidecar.path}: is damaged, or not of this model; `qrt pack` makes it anew"
        )
    return sidecar


def _sidecar(file: GGUFFile, graph: Graph) -> Sidecar:
    return sidecar_of(file, graph, sidecar_path(file.path, read_env()))


@contextmanager
def _team(file: GGUFFile, graph: Graph, progress: Progress) -> Iterator[tuple[Library, Team]]:
    """The kernels that pack and check a model, and threads to run them."""
    env = read_env()
    types = matrix_types(graph, file.tensors).values()
    names = (*TEAM_KERNELS, "fetch", *packing_kernels(types))
    n_threads = default_threads(env)
    library = load_kernels(names, choose(env.isa), cache_dir(env), lambda: n_threads, progress)
    team = Team(n_threads, library)
    try:
        yield library, team
    finally:
        team.close()
