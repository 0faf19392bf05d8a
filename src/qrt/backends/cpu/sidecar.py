"""Packed weights kept in a file: mapped and checked on the next start in place of packing."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu import packing, weights
from qrt.backends.cpu.fetch import Fetcher, checksum_calls, past_cache, run_calls
from qrt.backends.cpu.mapped import Mapped
from qrt.backends.cpu.memory import address, reserve
from qrt.backends.cpu.packing import Maker
from qrt.backends.cpu.paging import Paged
from qrt.backends.cpu.staging import Staging
from qrt.backends.cpu.weights import Matrix, maker_of, matrix_bytes, packed_names
from qrt.backends.cpu.writer import SteadyWriter
from qrt.config import check_private, private_dir, replacing
from qrt.errors import BackendError, GGUFError
from qrt.formats.gguf import GGUFFile
from qrt.formats.qtensor import QTensor
from qrt.formats.stored import StoredFile
from qrt.graph.graph import Graph
from qrt.kernels.entries import source_digest
from qrt.kernels.objects import Library
from qrt.kernels.team import Team
from qrt.progress import Progress

_MAGIC = b"qrt panels 3\0\0\0\0"
_ALIGNMENT = 4096
_UNIT = 1 << 16
"""Bytes that one checksum is of."""
_AT_ONCE = 1 << 25
"""Bytes that are made, checked or written at a time: memory stays small however large a model."""


class Split(NamedTuple):
    """Where matrices are if not all fit: held in memory, or staged, or, all others, mapped."""

    held: Collection[str]
    staged: Collection[str]
    n_bytes: int
    """Memory left for pages of what is mapped."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Matrices by name, and the file that they are mapped from; None for private copies."""

    matrices: dict[str, Matrix]
    mapped: Mapped | None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file that holds, or is to hold, the matrices of one model: panels, and rows of tables.

        magic | 32 bytes of digest | checksums, 8 bytes for each 65,536 of every weight | zeros
        each weight in order, from a multiple of 4096

    The digest is of the model, the weights and the source of the packing, and with it comes
    where everything lies: nothing that stands in the file is used as an offset or a size.
    """

    path: Path
    head: bytes
    places: Mapping[str, tuple[int, int]]  # name -> first byte and end
    packed: frozenset[str]  # the others are tables
    n_sums: int
    n_bytes: int

    def open(
        self, names: Collection[str], split: Split | None, library: Library, team: Team
    ) -> Kept | None:
        """Those weights of `names`; None without a file. One that does not fit is deleted.

        All are mapped and checked, unless `split` says what of them fits into memory: those mapped
        are not checked then. Raises BackendError where others may write to the folder, or where
        this system cannot guard what is mapped and not all fits.
        """
        if not os.path.lexists(self.path):
            return None
        check_private(self.path.parent)
        with suppress(OSError, GGUFError, ValueError):  # ValueError: shorter than what is mapped
            kept = self._open(names, split, library, team) if self.path.is_file() else None
            if kept is not None:
                return kept
        with suppress(OSError):
            self.path.unlink()
        return None

    def _open(
        self, names: Collection[str], split: Split | None, library: Library, team: Team
    ) -> Kept | None:
        file = self._file()
        if file is None:
            return None
        mapped = Mapped.open(file, library)
        if mapped is None and split is not None:
            raise BackendError(f"{self.path}: weights cannot be read from a file on this system")
        held = () if split is None else split.held
        copied = names if mapped is None else held
        copies = self._copies(file, copied, library, team)
        if copies is None:
            if mapped is not None:
                mapped.close()
            return None
        if mapped is None:
            return Kept(self._matrices(copies), None)
        data = mapped.data
        views = {name: data[slice(*self.places[name])] for name in names if name not in copies}
        if split is not None:
            mapped.paged = Paged(frozenset(views) - {*split.staged}, split.n_bytes)
        if split is not None and split.staged:
            mapped.staging = self._staging(file, split.staged)
            views |= {name: mapped.staging.data(name) for name in split.staged}
        if split is None:
            places = [self.places[name] for name in names]
            mapped.check_later(
                [(at, _whole(end)) for at, end in places], _UNIT, self._sums(file, names), library
            )
        return Kept(self._matrices(views | copies), mapped)

    def _matrices(self, found: Mapping[str, NDArray[np.uint8]]) -> dict[str, Matrix]:
        return {name: Matrix(data, name in self.packed) for name, data in found.items()}

    def _staging(self, file: StoredFile, names: Collection[str]) -> Staging:
        places = {name: (at, _whole(end)) for name, (at, end) in self.places.items()}
        sums = {name: self._sums(file, [name]) for name in names}
        return Staging(file, {name: places[name] for name in names}, sums, _UNIT)

    def _file(self) -> StoredFile | None:
        """The open file; None where it is not of this model."""
        file = StoredFile(self.path)
        if file.n_bytes != self.n_bytes or file.read(0, len(self.head)).tobytes() != self.head:
            return None
        return file

    def _sums(self, file: StoredFile, names: Collection[str]) -> NDArray[np.int64]:
        """The checksums of some weights, as they stand in the file."""
        every = file.read(len(self.head), 8 * self.n_sums).view(np.int64)
        ends = accumulate(_n_sums(end - at) for at, end in self.places.values())
        parts = dict(zip(self.places, np.split(every, [*ends]), strict=False))
        return np.concatenate([every[:0], *(parts[name] for name in names)])

    def _copies(
        self, file: StoredFile, names: Collection[str], library: Library, team: Team
    ) -> dict[str, NDArray[np.uint8]] | None:
        """Private copies of weights; None where one is not as it was written."""
        places = {name: self.places[name] for name in names}
        parts = [(at, reserve(_whole(end) - at, huge=True)) for at, end in places.values()]
        sums = self._sums(file, names)
        found = np.zeros_like(sums)
        number = past_cache(file)
        try:
            Fetcher(file, library, team, number).fetch(parts)
        finally:
            os.close(number)
        memory = [(address(part), part.size) for _, part in parts]
        run_calls(checksum_calls(memory, _UNIT, found), library, team)
        if not np.array_equal(found, sums):
            return None
        return {
            name: part[: end - at]
            for (name, (at, end)), (_, part) in zip(places.items(), parts, strict=True)
        }

    def is_whole(self, library: Library, team: Team, progress: Progress) -> bool:
        """Whether the file is there and as it was written; reads all of it, little at a time.

        Raises OSError, and GGUFError where it changes meanwhile.
        """
        file = self._file()
        if file is None:
            return False
        sums = self._sums(file, self.places)
        room, found = reserve(_AT_ONCE, huge=True), np.zeros(_AT_ONCE // _UNIT, np.int64)
        fetcher = Fetcher(file, library, team)
        done = 0
        for at, end in self.places.values():
            for start in range(at, _whole(end), _AT_ONCE):
                part = room[: _whole(end) - start]
                fetcher.fetch([(start, part)], _UNIT, found)
                n = _n_sums(part.size)
                if not np.array_equal(found[:n], sums[done : done + n]):
                    return False
                done += n
                progress("checking packed weights", start + part.size, self.n_bytes)
        return True

    def write(
        self, tensors: Mapping[str, QTensor], library: Library, team: Team, progress: Progress
    ) -> None:
        """Packs the weights and keeps them; readers see all of the file or nothing.

        Raises GGUFError where the model changed since it was opened, BackendError where the disk
        is full or cannot be written to.
        """
        sums, done = np.zeros(self.n_sums, np.int64), 0
        try:
            private_dir(self.path.parent)
            if shutil.disk_usage(self.path.parent).free < self.n_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with replacing(self.path) as file, SteadyWriter(file) as steady:
                for name, (at, _) in self.places.items():
                    file.seek(at)
                    for part in _parts(maker_of(tensors[name], name in self.packed, library, team)):
                        own = sums[done : done + _n_sums(part.size)]
                        calls = checksum_calls([(address(part), part.size)], _UNIT, own)
                        run_calls(calls, library, team)
                        steady.write(part)
                        done += own.size
                        progress("packing weights", done, self.n_sums)
                file.seek(0)
                file.write(self.head + sums.tobytes())
        except OSError as error:
            size, reason = f"{self.n_bytes / 1e6:.0f} MB", error.strerror or error
            raise BackendError(
                f"cannot keep {size} of packed weights in {self.path}: {reason}; make room, "
                "or set QRT_CACHE_DIR"
            ) from None


def sidecar_of(file: GGUFFile, graph: Graph, path: Path) -> Sidecar:
    """The sidecar of an open model, whose whole graph this is, at `path`."""
    digest = hashlib.sha256(file.fingerprint() + source_digest())
    for source in (packing.__file__, weights.__file__):
        digest.update(Path(source).read_bytes())
    sizes, packed = matrix_bytes(graph, file.tensors), frozenset(packed_names(graph, file.tensors))
    n_sums = sum(map(_n_sums, sizes.values()))
    places, end = {}, len(_MAGIC) + digest.digest_size + 8 * n_sums
    for name, size in sizes.items():
        at = _whole(end)
        end = at + size
        places[name] = (at, end)
        digest.update(f"{name} {at} {end} {name in packed}\n".encode())
    head = _MAGIC + digest.digest()
    return Sidecar(path, head, places, packed, n_sums, _whole(end))


def _parts(maker: Maker) -> Iterator[NDArray[np.uint8]]:
    """What is made, in parts of whole units, then zeros to the end of the page. One at a time."""
    step = max(1, _AT_ONCE // maker.piece_bytes) * maker.piece_bytes
    room = reserve(min(step, maker.n_bytes) + 2 * _UNIT, huge=True)
    filled = 0
    for start in range(0, maker.n_bytes, step):
        end = min(start + step, maker.n_bytes)
        maker.make(room[filled : filled + end - start], start)
        filled += end - start
        ready = filled - filled % _UNIT
        if end == maker.n_bytes:
            room[filled : _whole(filled)] = 0
            ready = filled = _whole(filled)
        yield room[:ready]
        room[: filled - ready] = room[ready:filled]
        filled -= ready


def _whole(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _ALIGNMENT


def _n_sums(n_bytes: int) -> int:
    return -(-_whole(n_bytes) // _UNIT)
