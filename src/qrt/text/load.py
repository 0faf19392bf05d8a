"""From the `tokenizer.ggml.*` keys of a file to its tokenizer: a function a kind of vocabulary.

Encoders of the rarer kinds are imported when a file has such a vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.errors import VocabError
from qrt.text.bpe import BpeEncoder, pre_tokenizer
from qrt.text.decode import BYTE_LEVEL, PLAIN, SPACED
from qrt.text.pretokenizers import WHITESPACE
from qrt.text.special import Kind, SpecialTokens, special_tokens
from qrt.text.spm import SpmEncoder
from qrt.text.tokenizer import TextEnds, Tokenizer
from qrt.text.vocab import Vocab, read_numbers, read_vocab

_KEY = "tokenizer.ggml."
_ROBERTA = ("jina-v1-en", "jina-v2-code", "roberta-bpe")
"""Pre-tokenizers of models that were trained with two ends between the texts of a pair."""


@dataclass(frozen=True)
class _Source:
    """The keys of a file and what was read of them."""

    metadata: Mapping[str, object]
    where: str
    vocab: Vocab
    special: SpecialTokens

    def flag(self, name: str, default: bool) -> bool:
        """A key that is true or false."""
        value = self.metadata.get(_KEY + name, default)
        if not isinstance(value, bool):
            raise VocabError(f"{self.where}: {_KEY}{name} is {value!r}; expected true or false")
        return value

    def begin_id(self, default: bool) -> int | None:
        """BOS, if it begins a text."""
        return self.special.bos_id if self.flag("add_bos_token", default) else None

    def end_id(self, default: bool) -> int | None:
        """EOS, if it ends a text."""
        return self.special.eos_id if self.flag("add_eos_token", default) else None

    def between_id(self, default: bool) -> int | None:
        """SEP, or EOS for want of it, if one stands between the texts of a pair."""
        if not self.flag("add_sep_token", default):
            return None
        return self.special.eos_id if self.special.sep_id is None else self.special.sep_id

    def scores(self) -> NDArray[np.float32]:
        """The score of each token, 0 in a file without scores."""
        scores = read_numbers(self.metadata, _KEY + "scores", "fi", len(self.vocab), self.where)
        if scores is None:
            return np.zeros(len(self.vocab), np.float32)
        return scores.astype(np.float32)

    def allowed(self, *kinds: Kind) -> frozenset[int]:
        """The tokens that plain text can become: of these types in the file, of any if none is
        named, but no control or unknown token."""
        never = np.isin(self.special.kinds, (Kind.CONTROL, Kind.UNKNOWN))
        wanted = np.isin(self.vocab.kinds, kinds or tuple(Kind))
        return frozenset(np.flatnonzero(wanted & ~never).tolist())


def load_tokenizer(metadata: Mapping[str, object], where: str) -> Tokenizer:
    """The tokenizer that the `tokenizer.ggml.*` keys describe; `where` names the file in errors.

    Checks the vocabulary, but leaves the heavy part to the first `encode` or to `prepare`.
    Raises VocabError.
    """
    model = metadata.get(_KEY + "model")
    found = _MODELS.get(model) if isinstance(model, str) else None
    if found is None:
        raise VocabError(
            f"{where}: tokenizer.ggml.model is {model!r}; supported are {', '.join(_MODELS)}"
        )
    build, defaults = found
    vocab = read_vocab(metadata, where)
    special = special_tokens(metadata, vocab.pieces, vocab.kinds, defaults, where)
    return build(_Source(metadata, where, vocab, special))


def _bpe(source: _Source) -> Tokenizer:
    metadata, where, vocab, special = source.metadata, source.where, source.vocab, source.special
    family = pre_tokenizer(metadata, where)
    begin_id = special.bos_id if family.always_bos else source.begin_id(family.add_bos)
    spelling = SPACED if family.escapes_space else BYTE_LEVEL
    between_id = source.between_id(metadata.get(_KEY + "pre") in _ROBERTA)
    ends = TextEnds(begin_id, source.end_id(False), False, spelling, between_id)
    encoder = BpeEncoder(metadata, vocab, family, where)
    if metadata[_KEY + "model"] != "whitespace":
        return Tokenizer(vocab, special, ends, encoder)
    from qrt.text.whitespace import WhitespaceEncoder

    lowercase = source.flag("normalizer.lowercase", family is not WHITESPACE)
    return Tokenizer(vocab, special, ends, WhitespaceEncoder(encoder, lowercase=lowercase))


def _spm(source: _Source) -> Tokenizer:
    vocab, special = source.vocab, source.special
    prefix = source.flag("add_space_prefix", True)
    encoder = SpmEncoder(
        source.metadata, vocab, special.kinds, special.unk_id, source.where, space_prefix=prefix
    )
    between_id = source.between_id(False)
    ends = TextEnds(source.begin_id(True), source.end_id(False), prefix, SPACED, between_id)
    return Tokenizer(vocab, special, ends, encoder)


def _ugm(source: _Source) -> Tokenizer:
    from qrt.text.ugm import UgmEncoder

    vocab, special = source.vocab, source.special
    scores = source.scores()
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise VocabError(f"{source.where}: the score of token {bad} is not a finite number")
    prefix = source.flag("add_space_prefix", False)
    encoder = UgmEncoder(
        vocab,
        scores,
        source.allowed(Kind.NORMAL, Kind.USER_DEFINED, Kind.UNUSED),
        special.unk_id,
        _charsmap(source),
        space_prefix=prefix,
        merge_spaces=source.flag("remove_extra_whitespaces", False),
        where=source.where,
    )
    between_id = source.between_id(False)
    ends = TextEnds(source.begin_id(False), source.end_id(True), prefix, SPACED, between_id)
    return Tokenizer(vocab, special, ends, encoder)


def _charsmap(source: _Source) -> bytes:
    value = source.metadata.get(_KEY + "precompiled_charsmap")
    if value is None:
        return b""
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype not in (np.int8, np.uint8):
        raise VocabError(
            f"{source.where}: tokenizer.ggml.precompiled_charsmap is an array of {array.dtype};"
            " expected bytes"
        )
    return array.tobytes()


def _wpm(source: _Source) -> Tokenizer:
    from qrt.text.wpm import BertText, WpmEncoder

    vocab, special = source.vocab, source.special
    lowercase = source.flag("normalizer.lowercase", True)
    strip_accents = source.flag("normalizer.strip_accents", lowercase)
    normalizer = BertText(lowercase=lowercase, strip_accents=strip_accents)
    encoder = WpmEncoder(vocab, source.allowed(), special.unk_id, normalizer)
    strip_space = source.flag("add_space_prefix", False)
    ends = TextEnds(special.bos_id, special.sep_id, strip_space, SPACED, second_type=1)
    return Tokenizer(vocab, special, ends, encoder)


def _rwkv(source: _Source) -> Tokenizer:
    from qrt.text.rwkv import ESCAPED, RwkvEncoder

    encoder = RwkvEncoder(source.vocab, source.allowed(), source.special.unk_id)
    ends = TextEnds(None, None, source.flag("add_space_prefix", False), ESCAPED)
    return Tokenizer(source.vocab, source.special, ends, encoder)


def _plamo2(source: _Source) -> Tokenizer:
    from qrt.text.plamo2 import Plamo2Encoder

    encoder = Plamo2Encoder(source.vocab, source.scores(), source.allowed(), source.where)
    ends = TextEnds(None, None, source.flag("add_space_prefix", False), PLAIN)
    return Tokenizer(source.vocab, source.special, ends, encoder)


_MODELS: Mapping[str, tuple[Callable[[_Source], Tokenizer], Mapping[str, int]]] = {
    "llama": (_spm, {"bos": 1, "eos": 2, "unk": 0}),
    "gpt2": (_bpe, {}),
    "gemma4": (_bpe, {}),
    "whitespace": (_bpe, {}),
    "t5": (_ugm, {"eos": 1, "unk": 2}),
    "bert": (_wpm, {"bos": 101, "unk": 100, "sep": 102}),
    "rwkv": (_rwkv, {}),
    "plamo2": (_plamo2, {"bos": 1, "eos": 2, "unk": 0}),
}
"""By `tokenizer.ggml.model`: how it is built, and the special tokens of files that name none."""
