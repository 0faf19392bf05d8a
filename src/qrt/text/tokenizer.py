"""The one face of tokenization: text to token ids and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from qrt.errors import InputError
from qrt.text.decode import BYTE_LEVEL, Spelling, StreamDecoder, shows
from qrt.text.fragments import SpecialMatcher, TokenSpan
from qrt.text.least import LeastTokens
from qrt.text.special import Kind, SpecialTokens
from qrt.text.vocab import Vocab

_ASCII_SPACE = " \t\n\v\f\r"
_MARKS = (Kind.UNDEFINED, Kind.UNKNOWN, Kind.CONTROL, Kind.UNUSED)
_BRACKETED = re.compile(rb"<[^\s<>]+>|\[[A-Z_/]+\]")


class Encoder(Protocol):
    """What a family of vocabularies brings: the ids of text that holds no special tokens."""

    def prepare(self) -> None: ...

    def encode(self, text: str) -> list[int]: ...

    def own_bytes(self) -> bytes:
        """The bytes that have a token each, so that no text loses one."""
        ...


@dataclass(frozen=True)
class TextEnds:
    """How a vocabulary treats the ends of a text, and spells what is between."""

    begin_id: int | None  # the token put before a text
    end_id: int | None  # and behind it
    strip_space: bool  # a space that the first token begins with is not part of the text
    spelling: Spelling
    between_id: int | None = None  # the one between two texts of a pair, behind the first's end
    second_type: int = 0  # the type of the tokens of a pair's second text


class Tokenizer:
    """Text to token ids and back. Thread-safe."""

    def __init__(
        self, vocab: Vocab, special: SpecialTokens, ends: TextEnds, encoder: Encoder
    ) -> None:
        self._vocab = vocab
        self._special = special
        self._text_ends = ends
        self._encoder = encoder
        self.n_vocab = len(vocab)
        self.bos_id = special.bos_id
        self.eos_id = special.eos_id
        self.eot_id = special.eot_id
        self.eog_ids = special.eog_ids
        self.fim_ids = special.fim_ids
        self.add_bos = ends.begin_id is not None
        self.end_id = ends.end_id
        """The token behind every text, where the vocabulary puts one there."""
        self.second_type = ends.second_type

    def prepare(self) -> None:
        """Do the heavy part of encoding's set-up now. Safe to call on another thread."""
        self._encoder.prepare()

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Token ids of `text`.

        `add_special` puts BOS and EOS (or SEP) where the file asks for them; `parse_special` lets
        text that spells a control token become that token (a user-defined one always does).
        Raises InputError for text that is not Unicode.
        """
        allowed = [(0, len(text))] if parse_special else []
        return self._tokenize(text, self.special_matcher.find(text, allowed, True), add_special)

    def tokenize_spans(
        self, spans: Sequence[tuple[str, bool]], *, add_special: bool = True
    ) -> list[int]:
        """Token ids of the joined texts of `spans`.

        The flag of a span says whether control tokens may be parsed in it, and user-defined ones
        that look like them (`<|...|>`); one is parsed only if it lies wholly in text that allows
        it. Ordinary tokens may cross from span to span.
        """
        text = "".join(part for part, _ in spans)
        found = self.special_matcher.find(text, _allowed(spans), False)
        return self._tokenize(text, found, add_special)

    def pair_parts(self, first: str, second: str) -> tuple[list[int], list[int], list[int]]:
        """Two texts that a model judges together: the tokens up to the second, its own, its end.

        Each ends as a text of its own does. Raises InputError for text that is not Unicode.
        """
        ends = self._text_ends
        end = [] if ends.end_id is None else [ends.end_id]
        between = [] if ends.between_id is None else [ends.between_id]
        before = [*self.tokenize(first), *between]
        return before, self.tokenize(second, add_special=False), end

    def _tokenize(self, text: str, specials: Iterable[TokenSpan], add_special: bool) -> list[int]:
        _utf8(text)
        ends = self._text_ends
        ids: list[int] = []
        if add_special and ends.begin_id is not None:
            ids.append(ends.begin_id)
        at = 0
        for found in specials:
            before = text[at : found.start]
            if found.token in self._special.lstrip_ids:
                before = before.rstrip(_ASCII_SPACE)
            ids += self._encode_between(before)
            ids.append(found.token)
            at = self._end(text, found)
        ids += self._encode_between(text[at:])
        if add_special and ends.end_id is not None:
            ids.append(ends.end_id)
        return ids

    def least_tokens(self, text: str) -> int:
        """A number that `len(tokenize(text))` is never below, found in a hundredth of the time.

        Raises InputError for text that is not Unicode.
        """
        return self._least_tokens.count(_utf8(text))

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
        strip_space = self._text_ends.strip_space and not continued
        return StreamDecoder(self._bytes_of, special=special, strip_space=strip_space)

    def token_bytes(self, token: int, *, special: bool = True) -> bytes:
        """The bytes that `token` stands for; a control token for its name, or unless `special` for
        nothing."""
        return self._bytes_of(token, special)

    def piece(self, token: int) -> str:
        """The token as it is spelled in the vocabulary."""
        return self._vocab.pieces[self._checked(token)].decode("utf-8", "replace")

    def find(self, piece: str) -> int | None:
        """The id of the token spelled `piece` in the vocabulary."""
        found = self._vocab.pieces.find(piece.encode())
        return found if found >= 0 else None

    def find_special(self, piece: str) -> int | None:
        """The id of the special token spelled `piece`: a control or a user-defined one."""
        token = self.find(piece)
        special = (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED)
        return token if token is not None and self._special.kinds[token] in special else None

    def is_control(self, token: int) -> bool:
        """Whether `token` is a mark (turn, role, end ...) and not part of the text."""
        return not shows(int(self._special.kinds[self._checked(token)]))

    def all_bytes(self) -> list[bytes]:
        """`token_bytes` of every token, in order."""
        return [self._bytes_of(token, True) for token in range(self.n_vocab)]

    def mark_ids(self) -> list[int]:
        """The tokens that are marks: by type, or user-defined and in brackets as `<think>` is."""
        kinds = self._special.kinds
        user_defined = np.flatnonzero(kinds == Kind.USER_DEFINED).tolist()
        bracketed = [i for i in user_defined if _BRACKETED.fullmatch(self._vocab.pieces[i])]
        return [*np.flatnonzero(np.isin(kinds, _MARKS)).tolist(), *bracketed]

    @cached_property
    def special_matcher(self) -> SpecialMatcher:
        """Finds this vocabulary's special tokens in text."""
        kinds, marks = self._special.kinds, self._special.mark_ids

        def texts(*wanted: Kind) -> dict[str, int]:
            numbers = np.flatnonzero(np.isin(kinds, wanted))
            return {self.piece(i): i for i in numbers[::-1].tolist()}

        control = texts(Kind.CONTROL, Kind.UNKNOWN)
        user_defined = texts(Kind.USER_DEFINED)
        return SpecialMatcher(
            control,
            {text: i for text, i in user_defined.items() if i in marks},
            {text: i for text, i in user_defined.items() if i not in marks},
        )

    @cached_property
    def _least_tokens(self) -> LeastTokens:
        pieces, kinds = self._vocab.pieces, self._special.kinds
        special = np.isin(kinds, (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED))
        longest = max((len(pieces[i]) for i in np.flatnonzero(special).tolist()), default=0)
        kept = self._encoder.own_bytes()
        if self._special.rstrip_ids or self._special.lstrip_ids:
            kept = kept.translate(None, _ASCII_SPACE.encode())
        is_byte_level = self._text_ends.spelling is BYTE_LEVEL
        return LeastTokens(pieces, longest, kept, byte_level=is_byte_level)

    def _encode_between(self, text: str) -> list[int]:
        """The ids of text at the start or after a special token, which holds none itself."""
        return self._encoder.encode(text) if text else []

    def _end(self, text: str, found: TokenSpan) -> int:
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
        spelling = self._text_ends.spelling
        if kind in (Kind.CONTROL, Kind.UNKNOWN) and not special:
            return b""
        if kind == Kind.BYTE:
            return bytes([self._vocab.byte_of[token]])
        if kind == Kind.NORMAL or spelling.of_all:
            return spelling.bytes_of(piece)
        return piece if kind in (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED) else b""


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text is not valid Unicode: {text[error.start]!r} at character {error.start}"
        ) from None


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
