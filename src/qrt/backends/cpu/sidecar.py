"""Packed weights kept in a file: mapped on the next start in place of packing."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Progress
from qrt.backends.cpu import weights
from qrt.backends.cpu.weights import Weight, load_weights, packed_bytes, packed_names
from qrt.config import Env, cache_dir, default_threads, read_env, replacing
from qrt.errors import BackendError
from qrt.formats.gguf import GGUFFile
from qrt.graph.graph import Graph
from qrt.kernels.isa import choose
from qrt.kernels.objects import load_kernels, source_digest
from qrt.kernels.team import TEAM_KERNELS, Team

_MAGIC = b"qrt panels 1\0\0\0\0"
_ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file that holds, or is to hold, the packed weights of one model.

        magic | 32 bytes of digest | zeros to 4096 | each weight in order, from a multiple of 4096

    The digest is of the model, the weights and the source of the packing, and with it comes
    where everything lies: nothing that stands in the file is used as an offset or a size.
    """

    path: Path
    head: bytes
    places: Mapping[str, tuple[int, int]]  # name -> first byte and end
    n_bytes: int

    def _fits(self) -> bool:
        """Whether the file is what this class writes, and all of it."""
        if not self.path.is_file() or self.path.stat().st_size != self.n_bytes:
            return False
        with self.path.open("rb") as file:
            return file.read(len(self.head)) == self.head

    def map(self) -> dict[str, NDArray[np.uint8]] | None:
        """The weights by name, read-only; None without a file. One that does not fit is deleted."""
        if not os.path.lexists(self.path):
            return None
        with suppress(OSError, ValueError):  # ValueError: shorter than what is to be mapped
            if self._fits():
                with self.path.open("rb") as file:
                    mapping = mmap.mmap(file.fileno(), self.n_bytes, access=mmap.ACCESS_READ)
                if hasattr(mmap, "MADV_WILLNEED"):
                    mapping.madvise(mmap.MADV_WILLNEED)
                data = np.frombuffer(mapping, np.uint8)
                return {name: data[at:end] for name, (at, end) in self.places.items()}
        with suppress(OSError):
            self.path.unlink()
        return None

    def write(self, weights: Mapping[str, Weight]) -> None:
        """Keeps `weights`; readers see all of the file or nothing.

        Raises BackendError where the disk is full or cannot be written to.
        """
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            with replacing(self.path) as file:
                file.write(self.head)
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
    places, end = {}, _ALIGNMENT
    for name in packed_names(graph):
        at = end + -end % _ALIGNMENT
        end = at + packed_bytes(file.tensors[name])
        places[name] = (at, end)
        digest.update(f"{name} {at} {end}\n".encode())
    head = _MAGIC + digest.digest()
    return Sidecar(sidecar_path(file.path, env), head, places, end)


def with_sidecar(
    file: GGUFFile | None,
    graph: Graph,
    env: Env,
    load: Callable[[Mapping[str, NDArray[np.uint8]]], dict[str, Weight]],
) -> dict[str, Weight]:
    """What `load` makes of the matrices that are kept; those that were not are kept from now on.

    A sidecar is used where there is one, and made where QRT_PACK_CACHE is 1 or one was stale.
    """
    if file is None or env.pack_cache is False:
        return load({})
    if not (env.pack_cache or os.path.lexists(sidecar_path(file.path, env))):
        return load({})
    sidecar = sidecar_for(file, graph, env)
    kept = sidecar.map()
    if kept is not None:
        return load(kept)
    loaded = load({})
    try:
        sidecar.write(loaded)
    except BackendError as error:
        logging.getLogger("qrt").warning(str(error))
    return loaded


def make_sidecar(file: GGUFFile, graph: Graph, progress: Progress) -> Sidecar:
    """Packs an open model, whether or not that was kept before, and keeps it.

    Raises BackendError where kernels or packed weights cannot be kept.
    """
    env = read_env()
    sidecar, n_threads = sidecar_for(file, graph, env), default_threads(env)
    names = (*TEAM_KERNELS, "pack")
    library = load_kernels(names, choose(env.isa), cache_dir(env), n_threads, progress)
    team = Team(n_threads, library)
    try:
        sidecar.write(load_weights(graph, file.tensors, library, team, progress, {}))
    finally:
        team.close()
    return sidecar
