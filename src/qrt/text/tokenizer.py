"""The one face of tokenization: text to token ids and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from qrt.errors import InputError, VocabError
from qrt.text.bpe import BpeEncoder, pre_tokenizer
from qrt.text.decode import StreamDecoder, byte_level_bytes, shows, spaced_bytes
from qrt.text.fragments import Found, SpecialMatcher
from qrt.text.special import Kind, SpecialTokens, special_tokens
from qrt.text.spm import SpmEncoder
from qrt.text.vocab import Vocab, read_vocab

_ASCII_SPACE = " \t\n\v\f\r"


class Encoder(Protocol):
    """What a family of vocabularies brings: the ids of text that holds no special tokens."""

    def prepare(self) -> None: ...

    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Settings:
    """How a vocabulary treats the ends of a text."""

    add_bos: bool
    add_eos: bool
    space_prefix: bool  # text after a special token, or at the start, gets a space before it
    byte_level: bool


def load_tokenizer(metadata: Mapping[str, object], where: str) -> Tokenizer:
    """The tokenizer that the `tokenizer.ggml.*` keys describe; `where` names the file in errors.

    Checks the vocabulary, but leaves the heavy part to the first `encode` or to `prepare`.
    Raises VocabError.
    """
    model = metadata.get("tokenizer.ggml.model")
    if model == "llama":
        vocab = read_vocab(metadata, where)
        defaults = {"bos": 1, "eos": 2, "unk": 0}
        special = special_tokens(metadata, vocab.pieces, vocab.kinds, defaults, where)
        spm = SpmEncoder(metadata, vocab, special.kinds, special.unk_id, where)
        settings = _settings(metadata, special, where, add_bos=True, byte_level=False)
        return Tokenizer(vocab, special, settings, spm)
    if model == "gpt2":
        family = pre_tokenizer(metadata, where)
        vocab = read_vocab(metadata, where)
        special = special_tokens(metadata, vocab.pieces, vocab.kinds, {}, where)
        bpe = BpeEncoder(metadata, vocab, family, where)
        settings = _settings(metadata, special, where, add_bos=family.add_bos, byte_level=True)
        return Tokenizer(vocab, special, settings, bpe)
    raise VocabError(
        f"{where}: tokenizer.ggml.model is {model!r}; supported are"
        " 'llama' (sentencepiece) and 'gpt2' (byte-level BPE)"
    )


def _settings(
    metadata: Mapping[str, object],
    special: SpecialTokens,
    where: str,
    *,
    add_bos: bool,
    byte_level: bool,
) -> Settings:
    def flag(key: str, default: bool) -> bool:
        value = metadata.get(key, default)
        if not isinstance(value, bool):
            raise VocabError(f"{where}: {key} is {value!r}; expected true or false")
        return value

    return Settings(
        add_bos=flag("tokenizer.ggml.add_bos_token", add_bos) and special.bos_id is not None,
        add_eos=flag("tokenizer.ggml.add_eos_token", False) and special.eos_id is not None,
        space_prefix=flag("tokenizer.ggml.add_space_prefix", not byte_level) and not byte_level,
        byte_level=byte_level,
    )


class Tokenizer:
    """Text to token ids and back. Thread-safe."""

    def __init__(
        self, vocab: Vocab, special: SpecialTokens, settings: Settings, encoder: Encoder
    ) -> None:
        self._vocab = vocab
        self._special = special
        self._settings = settings
        self._encoder = encoder
        self.n_vocab = len(vocab)
        self.bos_id = special.bos_id
        self.eos_id = special.eos_id
        self.eot_id = special.eot_id
        self.eog_ids = special.eog_ids
        self.add_bos = settings.add_bos
        self.add_eos = settings.add_eos

    def prepare(self) -> None:
        """Do the heavy part of encoding's set-up now. Safe to call on another thread."""
        self._encoder.prepare()

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Token ids of `text`.

        `add_special` puts BOS and EOS where the file asks for them; `parse_special` lets text that
        spells a control token become that token. Raises InputError for text that is not Unicode.
        """
        return self.tokenize_spans([(text, parse_special)], add_special=add_special)

    def tokenize_spans(
        self, spans: Sequence[tuple[str, bool]], *, add_special: bool = True
    ) -> list[int]:
        """Token ids of the joined texts of `spans`.

        The flag of a span says whether control tokens may be parsed in it; one is parsed only if
        it lies wholly in text that allows it. Ordinary tokens may cross from span to span.
        """
        text = "".join(part for part, _ in spans)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the text is not valid Unicode: {text[error.start]!r} at character {error.start}"
            ) from None
        settings = self._settings
        ids: list[int] = []
        if add_special and settings.add_bos and self.bos_id is not None:
            ids.append(self.bos_id)
        at = 0
        for found in self.special_matcher.find(text, _allowed(spans)):
            ids += self._encode_between(text[at : found.start])
            ids.append(found.token)
            at = self._end(text, found)
        ids += self._encode_between(text[at:])
        if add_special and settings.add_eos and self.eos_id is not None:
            ids.append(self.eos_id)
        return ids

    def detokenize(
        self, tokens: Iterable[int], *, special: bool = False, continued: bool = False
    ) -> str:
        """The text of `tokens`; bytes that are not UTF-8 become U+FFFD.

        `special` shows control tokens; `continued` says that the tokens follow others, so that a
        space at the start is a real one. Raises InputError for an id outside the vocabulary.
        """
        stream = self.stream(special=special, continued=continued)
        return "".join([stream.push(token) for token in tokens]) + stream.flush()

    def stream(self, *, special: bool = False, continued: bool = True) -> StreamDecoder:
        """A decoder to push tokens into one by one, by default those that follow a prompt.

        What it returns in all equals `detokenize` with the same parameters.
        """
        strip_space = self._settings.space_prefix and not continued
        return StreamDecoder(self._bytes_of, special=special, strip_space=strip_space)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that `token` stands for; a control token stands for its name."""
        return self._bytes_of(token, True)

    def piece(self, token: int) -> str:
        """The token as it is spelled in the vocabulary."""
        return self._vocab.pieces[self._checked(token)].decode("utf-8", "replace")

    def find(self, piece: str) -> int | None:
        """The id of the token spelled `piece` in the vocabulary."""
        found = self._vocab.pieces.find(piece.encode())
        return found if found >= 0 else None

    def is_control(self, token: int) -> bool:
        """Whether `token` is a mark (turn, role, end ...) and not part of the text."""
        return not shows(int(self._special.kinds[self._checked(token)]))

    @cached_property
    def special_matcher(self) -> SpecialMatcher:
        """Finds this vocabulary's special tokens in text."""
        kinds = self._special.kinds

        def texts(*wanted: Kind) -> dict[str, int]:
            numbers = np.flatnonzero(np.isin(kinds, wanted))
            return {self.piece(i): i for i in numbers[::-1].tolist()}

        return SpecialMatcher(texts(Kind.CONTROL, Kind.UNKNOWN), texts(Kind.USER_DEFINED))

    def _encode_between(self, text: str) -> list[int]:
        """The ids of text at the start or after a special token, which holds none itself."""
        if not text:
            return []
        return self._encoder.encode(" " + text if self._settings.space_prefix else text)

    def _end(self, text: str, found: Found) -> int:
        end = found.end
        if found.token in self._special.rstrip_ids:
            while end < len(text) and text[end] in _ASCII_SPACE:
                end += 1
        return end

    def _checked(self, token: int) -> int:
        if not 0 <= token < self.n_vocab:
            raise InputError(
                f"token id {token} is outside the vocabulary; expected 0 to {self.n_vocab - 1}"
            )
        return int(token)

    def _bytes_of(self, token: int, special: bool) -> bytes:
        token = self._checked(token)
        kind = int(self._special.kinds[token])
        piece = self._vocab.pieces[token]
        if kind in (Kind.CONTROL, Kind.UNKNOWN):
            return piece if special or token in self._special.shown_ids else b""
        if kind == Kind.BYTE:
            return bytes([self._vocab.byte_of[token]])
        if kind not in (Kind.NORMAL, Kind.USER_DEFINED):
            return b""
        if not self._settings.byte_level:
            return spaced_bytes(piece)
        return byte_level_bytes(piece) if kind == Kind.NORMAL else piece


def _allowed(spans: Sequence[tuple[str, bool]]) -> list[tuple[int, int]]:
    """The ranges of the joined text where control tokens may be parsed, merged."""
    ranges: list[tuple[int, int]] = []
    at = 0
    for part, parse in spans:
        if parse and part:
            if ranges and ranges[-1][1] == at:
                ranges[-1] = (ranges[-1][0], at + len(part))
            else:
                ranges.append((at, at + len(part)))
        at += len(part)
    return ranges
