"""Reads and checks the vocabulary in a file's metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from qrt.errors import VocabError
from qrt.text.special import Kind
from qrt.text.strings import StringTable

MAX_TOKEN_BYTES = 64 * 1024
_BYTE_TOKEN = re.compile(rb"<0x([0-9A-F]{2})>")


@runtime_checkable
class RawStrings(Protocol):
    """An array of strings that can give all its bytes at once."""

    def raw(self) -> list[bytes]:
        """The strings as UTF-8."""
        ...


@dataclass(frozen=True)
class Vocab:
    """The tokens of a file as they stand in it."""

    pieces: StringTable
    kinds: NDArray[np.uint8]  # (n_vocab,)
    byte_of: Mapping[int, int]  # token id -> byte, for tokens of Kind.BYTE

    def __len__(self) -> int:
        return len(self.pieces)


def read_vocab(metadata: Mapping[str, object], where: str) -> Vocab:
    """The vocabulary of `metadata`, checked. Raises VocabError."""
    pieces = StringTable(read_strings(metadata, "tokenizer.ggml.tokens", where))
    if not len(pieces):
        raise VocabError(f"{where}: tokenizer.ggml.tokens is empty")
    if pieces.max_len > MAX_TOKEN_BYTES:
        raise VocabError(
            f"{where}: a token has {pieces.max_len} bytes; at most {MAX_TOKEN_BYTES} are allowed"
        )
    kinds = np.full(len(pieces), Kind.NORMAL, np.uint8)
    types = read_numbers(metadata, "tokenizer.ggml.token_type", "iu", len(pieces), where)
    if types is not None:
        if types.min() < Kind.UNDEFINED or types.max() > Kind.BYTE:
            raise VocabError(
                f"{where}: tokenizer.ggml.token_type has values from {types.min()} to"
                f" {types.max()}; expected {Kind.UNDEFINED:d} to {Kind.BYTE:d}"
            )
        kinds = types.astype(np.uint8)
    return Vocab(pieces, kinds, _byte_tokens(pieces, kinds, where))


def read_strings(metadata: Mapping[str, object], key: str, where: str) -> list[bytes]:
    """The string array at `key` as bytes. Raises VocabError."""
    value = metadata.get(key)
    if value is None:
        raise VocabError(f"{where}: has no {key}; the file carries no usable vocabulary")
    if isinstance(value, RawStrings):
        return value.raw()
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return [item.encode("utf-8", "surrogateescape") for item in value]
    raise VocabError(f"{where}: {key} is not an array of strings")


def read_numbers(
    metadata: Mapping[str, object], key: str, dtype_kinds: str, n_vocab: int, where: str
) -> NDArray[np.generic] | None:
    """The number array at `key`, one for each token, or None when it is left out."""
    value = metadata.get(key)
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in dtype_kinds or array.ndim != 1:
        raise VocabError(f"{where}: {key} is an array of {array.dtype}; expected another type")
    if len(array) != n_vocab:
        raise VocabError(f"{where}: {key} has {len(array)} entries for {n_vocab} tokens")
    return array


def _byte_tokens(pieces: StringTable, kinds: NDArray[np.uint8], where: str) -> dict[int, int]:
    byte_of: dict[int, int] = {}
    for i in np.flatnonzero(kinds == Kind.BYTE).tolist():
        match = _BYTE_TOKEN.fullmatch(pieces[i])
        if match is None:
            raise VocabError(
                f"{where}: token {i} is of type byte but reads {pieces[i][:20]!r};"
                " expected <0x00> to <0xFF>"
            )
        byte_of[i] = int(match[1], 16)
    if len(set(byte_of.values())) != len(byte_of):
        raise VocabError(f"{where}: two byte tokens stand for the same byte")
    return byte_of
