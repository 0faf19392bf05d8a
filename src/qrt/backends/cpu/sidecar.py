"""Packed weights kept in a file: mapped and checked on the next start in place of packing."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu import weights
from qrt.backends.cpu.fetch import Fetcher, checksum_calls, run_calls
from qrt.backends.cpu.mapped import Mapped
from qrt.backends.cpu.memory import address, reserve
from qrt.backends.cpu.weights import Weight, load_weights, packed_bytes, packed_names
from qrt.config import (
    Env,
    cache_dir,
    check_private,
    default_threads,
    private_dir,
    read_env,
    replacing,
)
from qrt.errors import BackendError, GGUFError
from qrt.formats.gguf import GGUFFile
from qrt.formats.stored import StoredFile
from qrt.graph.graph import Graph
from qrt.kernels.isa import choose
from qrt.kernels.objects import Library, load_kernels, source_digest
from qrt.kernels.team import TEAM_KERNELS, Team
from qrt.progress import Progress

_MAGIC = b"qrt panels 2\0\0\0\0"
_ALIGNMENT = 4096
_UNIT = 1 << 16
"""Bytes that one checksum is of."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Packed weights by name, and the file that they are mapped from; None for private copies."""

    weights: dict[str, NDArray[np.uint8]]
    mapped: Mapped | None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file that holds, or is to hold, the packed weights of one model.

        magic | 32 bytes of digest | checksums, 8 bytes for each 65,536 of every weight | zeros
        each weight in order, from a multiple of 4096

    The digest is of the model, the weights and the source of the packing, and with it comes
    where everything lies: nothing that stands in the file is used as an offset or a size.
    """

    path: Path
    head: bytes
    places: Mapping[str, tuple[int, int]]  # name -> first byte and end
    n_sums: int
    n_bytes: int

    def open(self, library: Library, team: Team) -> Kept | None:
        """The weights that are kept; None without a file. One that does not fit is deleted.

        Raises BackendError where others may write to the folder.
        """
        if not os.path.lexists(self.path):
            return None
        check_private(self.path.parent)
        with suppress(OSError, GGUFError, ValueError):  # ValueError: shorter than what is mapped
            kept = self._open_whole(library, team) if self.path.is_file() else None
            if kept is not None:
                return kept
        with suppress(OSError):
            self.path.unlink()
        return None

    def _open_whole(self, library: Library, team: Team) -> Kept | None:
        file = StoredFile(self.path)
        if file.n_bytes != self.n_bytes or file.read(0, len(self.head)).tobytes() != self.head:
            return None
        sums = file.read(len(self.head), 8 * self.n_sums).view(np.int64)
        mapped = Mapped.open(file, library)
        if mapped is not None:
            data = mapped.data
            mapped.start_check(self._parts(data, 0), _UNIT, sums, library)
            return Kept({name: data[at:end] for name, (at, end) in self.places.items()}, mapped)
        begin = min(at for at, _ in self.places.values())
        data = reserve(self.n_bytes - begin, huge=True)
        found = np.zeros(self.n_sums, np.int64)
        parts = self._parts(data, begin)
        starts = [at for at, _ in self.places.values()]
        Fetcher(file, library, team).fetch(zip(starts, parts, strict=True), _UNIT, found)
        if not np.array_equal(found, sums):
            return None
        views = {name: data[at - begin : end - begin] for name, (at, end) in self.places.items()}
        return Kept(views, None)

    def _parts(self, data: NDArray[np.uint8], begin: int) -> list[NDArray[np.uint8]]:
        """Each weight with the rest of its last page; `data` starts at byte `begin`."""
        return [data[at - begin : _whole(end) - begin] for at, end in self.places.values()]

    def write(self, weights: Mapping[str, Weight], library: Library, team: Team) -> None:
        """Keeps `weights`; readers see all of the file or nothing.

        Raises BackendError where the disk is full or cannot be written to.
        """
        try:
            private_dir(self.path.parent)
            with replacing(self.path) as file:
                file.write(self.head + self._sums(weights, library, team).tobytes())
                for name, (at, _) in self.places.items():
                    file.seek(at)
                    file.write(weights[name].data.data)
                file.truncate(self.n_bytes)
        except OSError as error:
            size, reason = f"{self.n_bytes / 1e6:.0f} MB", error.strerror or error
            raise BackendError(
                f"cannot keep {size} of packed weights in {self.path}: {reason}; make room, "
                "or set QRT_CACHE_DIR"
            ) from None

    def _sums(
        self, weights: Mapping[str, Weight], library: Library, team: Team
    ) -> NDArray[np.int64]:
        sums = np.zeros(self.n_sums, np.int64)
        # the memory of a weight, too, goes on with zeros to the end of its last page
        parts = [
            (address(weights[name].data), _whole(end) - at)
            for name, (at, end) in self.places.items()
        ]
        run_calls(checksum_calls(parts, _UNIT, sums), library, team)
        return sums


def _whole(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _ALIGNMENT


def sidecar_path(model: Path, env: Env) -> Path:
    """Where the packed weights of a model file are kept: in the cache, which is private.

    The folder of the model may be shared, or not ours to write to.
    """
    real = os.path.realpath(model)
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return cache_dir(env) / "packed" / f"{Path(real).stem[:40]}-{digest}.panels"


def sidecar_for(file: GGUFFile, graph: Graph, env: Env) -> Sidecar:
    """The sidecar of an open model."""
    digest = hashlib.sha256(file.fingerprint() + source_digest())
    digest.update(Path(weights.__file__).read_bytes())
    sizes = {name: packed_bytes(file.tensors[name]) for name in packed_names(graph)}
    n_sums = sum(-(-_whole(size) // _UNIT) for size in sizes.values())
    places, end = {}, len(_MAGIC) + digest.digest_size + 8 * n_sums
    for name, size in sizes.items():
        at = _whole(end)
        end = at + size
        places[name] = (at, end)
        digest.update(f"{name} {at} {end}\n".encode())
    head = _MAGIC + digest.digest()
    return Sidecar(sidecar_path(file.path, env), head, places, n_sums, _whole(end))


def with_sidecar(
    file: GGUFFile | None,
    graph: Graph,
    env: Env,
    library: Library,
    team: Team,
    load: Callable[[Mapping[str, NDArray[np.uint8]]], dict[str, Weight]],
) -> tuple[dict[str, Weight], Mapped | None]:
    """What `load` makes of the matrices that are kept, and the file that they are mapped from.

    Those that were not kept are from now on.

    A sidecar is used where there is one, and made where QRT_PACK_CACHE is 1 or one was stale.
    """
    if file is None or env.pack_cache is False:
        return load({}), None
    if not (env.pack_cache or os.path.lexists(sidecar_path(file.path, env))):
        return load({}), None
    sidecar = sidecar_for(file, graph, env)
    kept = sidecar.open(library, team)
    if kept is not None:
        return load(kept.weights), kept.mapped
    loaded = load({})
    try:
        sidecar.write(loaded, library, team)
    except BackendError as error:
        logging.getLogger("qrt").warning(str(error))
    return loaded, None


def make_sidecar(file: GGUFFile, graph: Graph, progress: Progress) -> Sidecar:
    """Packs an open model, whether or not that was kept before, and keeps it.

    Raises BackendError where kernels or packed weights cannot be kept.
    """
    env = read_env()
    sidecar, n_threads = sidecar_for(file, graph, env), default_threads(env)
    names = (*TEAM_KERNELS, "fetch", "pack")
    library = load_kernels(names, choose(env.isa), cache_dir(env), n_threads, progress)
    team = Team(n_threads, library)
    try:
        loaded = load_weights(graph, file.tensors, library, team, progress, {})
        sidecar.write(loaded, library, team)
    finally:
        team.close()
    return sidecar
