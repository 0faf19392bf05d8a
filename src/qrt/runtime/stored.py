"""What a sequence remembers, written to a file and read back: its tokens, then its pages."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor
from qrt.errors import BackendError, InputError
from qrt.runtime.pages import Pages
from qrt.runtime.sequence import Sequence

_MAGIC = b"qrt state 1\0\0\0\0\0"
_UINT32 = np.dtype("<u4")


class StateFile:
    """A file of the state of one sequence; a digest says of what model, and of which bytes of it.

        magic | 32 bytes of digest | n_tokens, then the pages of each group: uint32 each
        tokens: uint32 each | pages of each group in order | crc32 of all that: uint32

    States of fixed size are not kept: a sequence that has any has no file.
    """

    def __init__(self, file: BinaryIO, executor: Executor, key: bytes) -> None:
        """`key` says which model it is, and the types of its KV cache."""
        self._file = file
        self._executor = executor
        self._key = hashlib.sha256(key + executor.page_digest()).digest()
        self._crc = 0

    def write(self, seq: Sequence) -> None:
        """Writes the state of `seq`, which has a token. Raises OSError."""
        pages = _pages(seq)
        counts = [len(seq), *(len(group.held) for group in pages)]
        self._put(_MAGIC + self._key)
        self._put(np.array([*counts, *seq.tokens], _UINT32).tobytes())
        for memory in self._memory(pages):
            self._put(memory.data.cast("B"))
        self._file.write(np.array([self._crc], _UINT32).tobytes())

    def read(self, seq: Sequence, n_vocab: int, n_ctx: int) -> None:
        """Puts the state into `seq`, which is empty, and stays so where an error is raised.

        Raises InputError for a file of another model or one that is damaged, BackendError where
        there is no room for it, OSError.
        """
        pages = _pages(seq)
        if self._take(len(_MAGIC) + len(self._key)) != _MAGIC + self._key:
            raise InputError("the state is that of another model, type of KV cache or version")
        n_tokens, *n_held = self._numbers(1 + len(pages))
        if not 0 < n_tokens <= n_ctx:
            raise InputError(f"the state has {n_tokens} tokens, the context holds {n_ctx}")
        tokens = self._numbers(n_tokens)
        if max(tokens) >= n_vocab:
            raise InputError("the state is damaged: a token is not in the vocabulary")
        try:
            for group, n in zip(pages, n_held, strict=True):
                group.refill(n_tokens, n)
            for memory in self._memory(pages):
                memory.data.cast("B")[:] = self._take(memory.nbytes)
            if self._file.read(5) != np.array([self._crc], _UINT32).tobytes():
                raise InputError("the state is damaged: its checksum is another")
        except BaseException:
            for group in pages:
                group.finish(0)
            raise
        seq.tokens = tokens

    def _memory(self, pages: list[Pages]) -> Iterator[NDArray[np.uint8]]:
        for number, group in enumerate(pages):
            for page in group.held:
                yield from self._executor.page(number, page)

    def _numbers(self, n: int) -> list[int]:
        numbers: list[int] = np.frombuffer(self._take(n * _UINT32.itemsize), _UINT32).tolist()
        return numbers

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._crc = zlib.crc32(data, self._crc)

    def _take(self, n_bytes: int) -> bytes:
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise InputError("the state is damaged: the file ends early")
        self._crc = zlib.crc32(data, self._crc)
        return data


def _pages(seq: Sequence) -> list[Pages]:
    """Raises BackendError for a sequence with states of fixed size."""
    pages = [state for state in seq.states if isinstance(state, Pages)]
    if len(pages) != len(seq.states):
        raise BackendError("the state of a model with recurrent layers cannot be kept in a file")
    return pages
