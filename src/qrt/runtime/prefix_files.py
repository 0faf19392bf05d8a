"""The prefix store on disk: a file for each page, for other processes and later starts."""

from __future__ import annotations

import os
import re
import stat
import time
import zlib
from collections.abc import Callable
from collections.abc import Sequence as Items
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qrt.config import private_dir, replacing
from qrt.errors import InputError
from qrt.graph.batch import PAGE_LEN
from qrt.runtime.prefix_tree import packed, unpacked

Memory = NDArray[np.uint8]

_MAGIC: Final = {False: b"qrt prefix 1\0\0\0\0", True: b"qrt border 1\0\0\0\0"}
"""Of files of pages, and of states."""
_CURE: Final = "name another prefix_dir, a directory of your own"
_FOLDER: Final = "qrt-prefixes-1"
_NAME: Final = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})-([0-9]{1,2})(s?)")
_WRITING: Final = "tmp"
"""What the names of files begin with that are still written."""
_STALE_S: Final = 3600
_UINT32: Final = np.dtype("<u4")
_KEPT_PART: Final = 0.9
"""Of the cap, what is left when files had to go."""


class Place(NamedTuple):
    """A file: the page of `n_tokens` tokens that `digest` is of, behind those of `parent`, or the
    states at the end of them.
    """

    parent: bytes
    digest: bytes
    n_tokens: int
    of_states: bool = False

    @property
    def name(self) -> str:
        """Its path in the folder."""
        parent, kind = self.parent.hex(), "s" if self.of_states else ""
        return f"{parent[:2]}/{parent}-{self.digest.hex()}-{self.n_tokens}{kind}"

    @property
    def states(self) -> Place:
        """The file of the states at the end of its tokens."""
        return self._replace(of_states=True)


class PrefixFiles:
    """Files of pages in a folder of ours alone, named by digests that cover model and tokens, and
    files of states where a page ends.

        magic | digest of the parent | digest | tokens: uint32 each
        the page, or the slot, of every group that has such, in order | crc32 of all that: uint32

    Nothing in a file says how long it is or where something lies. One that is not exactly what it
    should be is deleted. Any number of processes may use the folder.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Raises BackendError for a folder that is not ours alone, InputError where it cannot be
        made."""
        self.folder = folder / _FOLDER
        self._max_bytes = max_bytes
        try:
            private_dir(folder, _CURE)
            private_dir(self.folder, _CURE)
        except OSError as error:
            raise InputError(f"prefix_dir {folder} cannot be made: {error}; {_CURE}") from None

    def has(self, place: Place) -> bool:
        """Whether there is such a file."""
        return (self.folder / place.name).exists()

    def below(self, parent: bytes) -> list[Place]:
        """The files of pages that follow `parent`."""
        start, places = parent.hex(), []
        with suppress(OSError), os.scandir(self.folder / start[:2]) as entries:
            for entry in entries:
                found = _NAME.fullmatch(entry.name)
                if found and found[1] == start and 0 < int(found[3]) <= PAGE_LEN and not found[4]:
                    places.append(Place(parent, bytes.fromhex(found[2]), int(found[3])))
        return places

    def tokens(self, place: Place) -> list[int]:
        """The tokens that a file says it is of; none where it cannot be read."""
        n_bytes = len(packed(range(place.n_tokens)))
        with suppress(OSError), self._open(place) as file:
            head = file.read(len(_MAGIC[False]) + 64 + n_bytes)
            if len(head) == len(_MAGIC[False]) + 64 + n_bytes:
                return unpacked(head[-n_bytes:])
        return []

    def read(self, place: Place, tokens: Items[int], pages: Items[Memory]) -> bool:
        """Reads the pages of exactly these tokens; False where the file is gone or wrong, and what
        is in the pages is rubbish then."""
        head = _head(place, packed(tokens))
        n_bytes = len(head) + sum(page.nbytes for page in pages) + _UINT32.itemsize
        try:
            with self._open(place) as file:
                info = os.fstat(file.fileno())
                is_right = stat.S_ISREG(info.st_mode) and info.st_size == n_bytes
                is_right = is_right and file.read(len(head)) == head
                if is_right and self._fill(file, zlib.crc32(head), pages):
                    return True
        except OSError:
            return False
        self.delete(place)
        return False

    def write(
        self, place: Place, tokens: bytes, pages: Items[Memory], is_still: Callable[[], bool]
    ) -> int:
        """Writes a file unless, once the pages were read, they are not `is_still` what they were;
        its bytes. Raises OSError."""
        path = self.folder / place.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with suppress(_GoneError), replacing(path) as file:
            crc = 0
            parts: list[bytes | memoryview] = [_head(place, tokens)]
            parts += [page.data.cast("B") for page in pages]
            for part in parts:
                file.write(part)
                crc = zlib.crc32(part, crc)
            file.write(np.array([crc], _UINT32).tobytes())
            if not is_still():
                raise _GoneError
            return file.tell()
        return 0

    def touch(self, places: Items[Place]) -> None:
        """Counts files as used now, those later in the list a little earlier: they go first."""
        now = time.time_ns()
        for i, place in enumerate(places):
            with suppress(OSError):
                os.utime(self.folder / place.name, ns=(now - 1000 * i, now - 1000 * i))

    def delete(self, place: Place) -> None:
        """Deletes a file, if there is one."""
        with suppress(OSError):
            (self.folder / place.name).unlink()

    def trim(self) -> int:
        """Deletes what is foreign, then the files not used for longest, down to the cap; bytes
        that are left."""
        files, total = [], 0
        for path in self.folder.glob("*/*"):
            with suppress(OSError):
                info = path.lstat()
                is_written = path.name.startswith(_WRITING)
                if is_written and time.time() - info.st_mtime < _STALE_S:
                    continue
                if not (_NAME.fullmatch(path.name) and stat.S_ISREG(info.st_mode)):
                    path.unlink()
                    continue
                files.append((info.st_mtime_ns, info.st_size, path))
                total += info.st_size
        if total <= self._max_bytes:
            return total
        for _, size, path in sorted(files):
            if total <= _KEPT_PART * self._max_bytes:
                break
            with suppress(OSError):
                path.unlink()
                total -= size
        return total

    def is_too_much(self, n_bytes: int) -> bool:
        """Whether so many bytes are above the cap."""
        return n_bytes > self._max_bytes

    def _open(self, place: Place) -> BinaryIO:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)  # a pipe in its place is not waited for
        return os.fdopen(os.open(self.folder / place.name, flags), "rb", buffering=0)

    @staticmethod
    def _fill(file: BinaryIO, crc: int, pages: Items[Memory]) -> bool:
        """Reads pages and compares the checksum, begun with `crc`."""
        for page in pages:
            view = page.data.cast("B")
            while view:
                n = file.readinto(view)  # type: ignore[attr-defined]
                if not n:
                    return False
                view = view[n:]
            crc = zlib.crc32(page.data, crc)
        return file.read(_UINT32.itemsize + 1) == np.array([crc], _UINT32).tobytes()


def _head(place: Place, tokens: bytes) -> bytes:
    return _MAGIC[place.of_states] + place.parent + place.digest + tokens


class _GoneError(Exception):
    """A page was given to others while it was read."""
