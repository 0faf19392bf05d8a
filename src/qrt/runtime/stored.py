"""What a sequence remembers, written to a file and read back: its tokens, then pages and states."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor
from qrt.errors import InputError
from qrt.graph.batch import NO_PAGE
from qrt.runtime.pages import Pages
from qrt.runtime.sequence import Sequence

_MAGIC = b"qrt state 1\0\0\0\0\0"
_UINT32 = np.dtype("<u4")
_MOST_STATES: Final = 64


class StateFile:
    """A file of the state of one sequence; a digest says of what model, and of which bytes of it.

    magic | 32 bytes of digest | n_tokens, then the units of each group: uint32 each
    tokens | of each group of states their ends: uint32 each
    the units of each group in order | crc32 of all that: uint32
    """

    def __init__(self, file: BinaryIO, executor: Executor, key: bytes) -> None:
        """`key` says which model it is, and the types of its KV cache."""
        self._file = file
        self._executor = executor
        self._key = hashlib.sha256(key + executor.page_digest()).digest()
        self._crc = 0

    def write(self, seq: Sequence) -> None:
        """Writes the state of `seq`, which has a token. Raises OSError."""
        ends = [[] if isinstance(s, Pages) else s.worth_storing for s in seq.states]
        units = [
            state.held if isinstance(state, Pages) else [state.unit(end) for end in own]
            for state, own in zip(seq.states, ends, strict=True)
        ]
        self._put(_MAGIC + self._key)
        numbers = [len(seq), *map(len, units), *seq.tokens, *(end for own in ends for end in own)]
        self._put(np.array(numbers, _UINT32).tobytes())
        for memory in self._memory(units):
            self._put(memory.data.cast("B"))
        self._file.write(np.array([self._crc], _UINT32).tobytes())

    def read(
        self, seq: Sequence, n_vocab: int, n_ctx: int, make_room: Callable[[int], object]
    ) -> None:
        """Puts the state into `seq`, which is empty, and stays so where an error is raised;
        `make_room` for so many tokens comes before that.

        Raises InputError for a file of another model or one that is damaged, BackendError where
        there is no room for it, OSError.
        """
        if self._take(len(_MAGIC) + len(self._key)) != _MAGIC + self._key:
            raise InputError("the state is that of another model, type of KV cache or version")
        n_tokens, *n_units = self._numbers(1 + len(seq.states))
        if not 0 < n_tokens <= n_ctx:
            raise InputError(f"the state has {n_tokens} tokens, the context holds {n_ctx}")
        tokens = self._numbers(n_tokens)
        if max(tokens) >= n_vocab:
            raise InputError("the state is damaged: a token is not in the vocabulary")
        ends = [
            [] if isinstance(state, Pages) else self._numbers(min(n, _MOST_STATES))
            for state, n in zip(seq.states, n_units, strict=True)
        ]
        make_room(n_tokens)
        units = list[list[int]]()
        try:
            for state, n, own in zip(seq.states, n_units, ends, strict=True):
                if isinstance(state, Pages):
                    state.refill(n_tokens, n)
                    units.append(state.held)
                else:
                    units.append(state.refill(n_tokens, own))
            for memory in self._memory(units):
                memory.data.cast("B")[:] = self._take(memory.nbytes)
            if self._file.read(5) != np.array([self._crc], _UINT32).tobytes():
                raise InputError("the state is damaged: its checksum is another")
        except BaseException:
            for state in seq.states:
                state.finish(0)
            raise
        seq.tokens = tokens

    def _memory(self, units: Items[Items[int]]) -> Iterator[NDArray[np.uint8]]:
        """That of all units; of those that are NO_PAGE some that is nobody's."""
        for number, group in enumerate(units):
            for unit in group:
                if unit == NO_PAGE:
                    yield from map(np.empty_like, self._executor.page(number, 0))
                else:
                    yield from self._executor.page(number, unit)

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
