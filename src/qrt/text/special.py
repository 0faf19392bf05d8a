"""Kinds of tokens, and which token ids begin, separate and end a text.

GGUF files name some special tokens by key and leave others to be known by their text; the tables
below say which texts mean what (GGUF specification; the rules are those of llama.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from qrt.errors import VocabError
from qrt.text.strings import StringTable


class Kind(IntEnum):
    """`tokenizer.ggml.token_type` of a token."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


END_OF_TURN = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
    "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>",
)  # fmt: skip
"""Texts of the token that ends a turn, the likeliest first."""

END_OF_GENERATION = (
    *END_OF_TURN, "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "</s>", "<|eom_id|>", "[EOS]",
    "<eos>", "<turn|>", "<|tool_response>", "[e~[",
)  # fmt: skip
"""Texts of tokens after which generation stops."""

FILL_IN_MIDDLE = {
    "fim_pre": (
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
        "<|code_prefix|>", "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
        "<|code_suffix|>", "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
        "<|code_middle|>", "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}  # fmt: skip
"""Texts of control tokens of fill-in-the-middle models, for roles that the file does not name."""

_FIM_ENDS = ("fim_pad", "fim_rep", "fim_sep")
"""Roles of fill-in-the-middle after which generation stops."""

ALWAYS_SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
"""Tokens that structure a reply (harmony format), so decoding shows them whatever their type."""

_ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    **{role: f"tokenizer.ggml.{role}_token_id" for role in FILL_IN_MIDDLE},
}
_SEP_KEY = "tokenizer.ggml.seperator_token_id"  # so spelled in the files
_OLD_KEYS = {
    "fim_pre": "tokenizer.ggml.prefix_token_id",
    "fim_suf": "tokenizer.ggml.suffix_token_id",
    "fim_mid": "tokenizer.ggml.middle_token_id",
}
_INNER_ENDS = (
    ("<|end|>", ("<|return|>", "<|call|>"), Kind.USER_DEFINED),
    ("<|end|>", ("<|return|>", "<|calls|>"), Kind.USER_DEFINED),
    ("<|end|>", ("<|call|>", "<|flush|>"), Kind.USER_DEFINED),
    ("<|end|>", ("<|calls|>", "<|flush|>"), Kind.USER_DEFINED),
    ("</s>", ("<|tool_response>",), Kind.NORMAL),
    ("</s>", ("<|plamo:eos|>",), Kind.NORMAL),
)
"""Texts that end no generation where all these others do, and what they are then: the end of a part
of a reply (harmony), or a word of mark-up languages like any other."""

_TEXTS = (
    *END_OF_GENERATION,
    *(text for texts in FILL_IN_MIDDLE.values() for text in texts),
    *ALWAYS_SHOWN,
    "<|plamo:eos|>",
)
_MARKUP = re.compile(r"<[|｜].+[|｜]>", re.DOTALL)
_MASKS = (
    ("tokenizer.ggml.pre", ("jina-v2-de", "jina-v2-es", "jina-v2-code"), b"<mask>"),
    ("general.architecture", ("nomic-bert-moe", "jina-bert-v3"), b"<mask>"),
    ("general.name", ("modern-bert",), b"[MASK]"),
)
"""(key, texts in its value, token): the token takes the white space before it."""
_PHI3_KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")


@dataclass(frozen=True)
class SpecialTokens:
    """The special token ids of one vocabulary; None where it has none."""

    kinds: NDArray[np.uint8]  # (n_vocab,) Kind of each token, with the corrections made here
    bos_id: int | None
    eos_id: int | None
    eot_id: int | None
    unk_id: int | None
    sep_id: int | None
    eog_ids: frozenset[int]
    mark_ids: frozenset[int]  # not control tokens by type, but a turn or a role may begin with one
    lstrip_ids: frozenset[int]  # white space before these belongs to them
    rstrip_ids: frozenset[int]  # white space after these does
    fim_ids: Mapping[str, int]  # by role of FILL_IN_MIDDLE, those that there are


def special_tokens(
    metadata: Mapping[str, object],
    pieces: StringTable,
    kinds: NDArray[np.uint8],
    defaults: Mapping[str, int],
    where: str,
) -> SpecialTokens:
    """Settle the special tokens of a vocabulary of `pieces`; `kinds` are those of the file.

    `defaults` gives ids by role ("bos", "eos", ...) for files that leave the key out; "sep" is
    looked for only where it has a default. Raises VocabError for an id outside the vocabulary.
    """
    ids = {
        role: _special_id(metadata, key, len(pieces), where, defaults.get(role))
        for role, key in _ID_KEYS.items()
    }
    sep_id = None
    if "sep" in defaults:
        sep_id = _special_id(metadata, _SEP_KEY, len(pieces), where, defaults["sep"])
    for role, key in _OLD_KEYS.items():
        ids[role] = _special_id(metadata, key, len(pieces), where, ids[role])
    by_text = {text: found for text in _TEXTS if (found := pieces.find(text.encode())) >= 0}
    kinds = kinds.copy()
    eog_ids = {by_text[text] for text in END_OF_GENERATION if text in by_text}
    fim_ids: dict[str, int] = {}
    for role, texts in FILL_IN_MIDDLE.items():
        named = ids[role]
        tokens = [by_text[text] for text in texts if text in by_text] if named is None else [named]
        if named is None:
            kinds[tokens] = Kind.CONTROL
        if role in _FIM_ENDS:
            eog_ids.update(tokens)
        if tokens:
            fim_ids[role] = tokens[0]
    kinds[[by_text[text] for text in END_OF_GENERATION if text in by_text]] = Kind.CONTROL
    kinds[[by_text[text] for text in ALWAYS_SHOWN if text in by_text]] = Kind.USER_DEFINED

    eot_id = ids["eot"]
    if eot_id is None:
        eot_id = next((by_text[text] for text in END_OF_TURN if text in by_text), None)
    eog_ids |= {i for i in (ids["eos"], eot_id, ids["eom"]) if i is not None}
    for text, others, kind in _INNER_ENDS:
        if text in by_text and all(by_text.get(other) in eog_ids for other in others):
            eog_ids.discard(by_text[text])
            kinds[by_text[text]] = kind

    user_defined = np.flatnonzero(kinds == Kind.USER_DEFINED).tolist()
    mark_ids = (i for i in user_defined if _MARKUP.fullmatch(pieces[i].decode("utf-8", "replace")))
    return SpecialTokens(
        kinds=kinds,
        bos_id=ids["bos"],
        eos_id=ids["eos"],
        eot_id=eot_id,
        unk_id=ids["unk"],
        sep_id=sep_id,
        eog_ids=frozenset(eog_ids),
        mark_ids=frozenset(mark_ids),
        lstrip_ids=_lstrip_ids(metadata, pieces),
        rstrip_ids=_rstrip_ids(metadata, pieces, kinds),
        fim_ids=fim_ids,
    )


def _special_id(
    metadata: Mapping[str, object], key: str, n_vocab: int, where: str, default: int | None
) -> int | None:
    value = metadata.get(key)
    if value is None:
        return default if default is not None and default < n_vocab else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise VocabError(f"{where}: {key} is {value!r}; expected a token id")
    if not 0 <= value < n_vocab:
        raise VocabError(
            f"{where}: {key} is {value}, outside the vocabulary of {n_vocab} tokens;"
            " the file is damaged or badly converted"
        )
    return value


def _lstrip_ids(metadata: Mapping[str, object], pieces: StringTable) -> frozenset[int]:
    tokens = (
        pieces.find(token)
        for key, texts, token in _MASKS
        if any(text in str(metadata.get(key, "")).lower() for text in texts)
    )
    return frozenset(token for token in tokens if token >= 0)


def _rstrip_ids(
    metadata: Mapping[str, object], pieces: StringTable, kinds: NDArray[np.uint8]
) -> frozenset[int]:
    """Phi-3 was trained with special tokens that take the white space behind them."""
    name = str(metadata.get("general.name", "")).lower()
    if "phi-3" not in name and "phi3" not in name:
        return frozenset()
    special = np.flatnonzero(np.isin(kinds, (Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED)))
    keeps = {pieces.find(text.encode()) for text in _PHI3_KEEPS_SPACE}
    return frozenset(special.tolist()) - keeps
