"""Sentencepiece vocabularies, through a model description built in memory.

The description is the protocol buffer message `ModelProto` of sentencepiece, written by hand:
fields 1 (pieces), 2 (trainer_spec) and 3 (normalizer_spec).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qrt.errors import VocabError
from qrt.text.special import Kind
from qrt.text.vocab import Vocab, read_numbers

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_SENTENCEPIECE_KINDS = np.array(
    [Kind.NORMAL, Kind.NORMAL, Kind.CONTROL, Kind.CONTROL, Kind.NORMAL, Kind.NORMAL, Kind.BYTE],
    np.uint8,
)
"""What sentencepiece is told for each `Kind`: text is merged into any token but those for marks."""
_BPE = 2  # TrainerSpec.ModelType
_TRAINER = {
    "model_type": 3,
    "byte_fallback": 35,
    "unk_id": 40,
    "bos_id": 41,
    "eos_id": 42,
    "pad_id": 43,
}
_NORMALIZER = {"add_dummy_prefix": 3, "remove_extra_whitespaces": 4, "escape_whitespaces": 5}


class SpmEncoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(
        self,
        metadata: Mapping[str, object],
        vocab: Vocab,
        kinds: NDArray[np.uint8],
        unk_id: int | None,
        where: str,
        *,
        space_prefix: bool,
    ) -> None:
        """`kinds` are those of the special token rules; the model is made when first needed.

        `space_prefix` puts a space before text.
        """
        scores = read_numbers(metadata, "tokenizer.ggml.scores", "fi", len(vocab), where)
        if scores is None:
            raise VocabError(f"{where}: has no tokenizer.ggml.scores, which its vocabulary needs")
        if not np.isfinite(scores).all():
            bad = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise VocabError(f"{where}: the score of token {bad} is not a finite number")
        n_bytes = len(vocab.byte_of)
        if n_bytes not in (0, 256):
            raise VocabError(f"{where}: has {n_bytes} byte tokens; expected none or all 256")
        self._vocab = vocab
        self._kinds = kinds
        self._scores = scores.astype(np.float32)
        self._unk_id = 0 if unk_id is None else unk_id
        self._where = where
        self._prefix = " " if space_prefix else ""
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the model now, for example while the weights are read."""
        with self._lock:
            _ = self._processor

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        with self._lock:
            processor = self._processor
        ids: list[int] = processor.encode((self._prefix + text).encode(), out_type=int)
        return ids

    def own_bytes(self) -> bytes:
        """The bytes that have a token each."""
        return bytes(self._vocab.byte_of.values())

    @cached_property
    def _processor(self) -> SentencePieceProcessor:
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(self._model_proto())
        except RuntimeError as error:
            raise VocabError(f"{self._where}: the vocabulary is unusable: {error}") from None
        return processor

    def _model_proto(self) -> bytes:
        kinds = _SENTENCEPIECE_KINDS[self._kinds]
        kinds[self._unk_id] = Kind.UNKNOWN
        taken: set[bytes] = set()
        fields = []
        rows = zip(self._vocab.pieces.to_list(), self._scores.tolist(), kinds.tolist(), strict=True)
        for i, (piece, score, kind) in enumerate(rows):
            if not piece or piece in taken:
                piece, kind = f"\ufdd0{i}".encode(), int(Kind.CONTROL)
            taken.add(piece)
            body = _bytes_field(1, piece) + b"\x15" + struct.pack("<f", score)
            fields.append(_bytes_field(1, body + _int_field(3, kind)))
        trainer = {
            "model_type": _BPE,
            "byte_fallback": int(bool(self._vocab.byte_of)),
            "unk_id": self._unk_id,
            "bos_id": -1,
            "eos_id": -1,
            "pad_id": -1,
        }
        normalizer = {
            "add_dummy_prefix": 0,
            "remove_extra_whitespaces": 0,
            "escape_whitespaces": 1,
        }
        fields.append(_bytes_field(2, _ints(_TRAINER, trainer)))
        fields.append(
            _bytes_field(3, _bytes_field(1, b"identity") + _ints(_NORMALIZER, normalizer))
        )
        return b"".join(fields)


def _ints(numbers: Mapping[str, int], values: Mapping[str, int]) -> bytes:
    return b"".join(_int_field(numbers[name], value) for name, value in values.items())


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value
