"""Copies of a vocabulary file with another pre-tokenizer, other token types, or another model."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from qrt.formats.encode import Typed
from qrt.formats.gguf import open_gguf
from qrt.formats.writer import write_gguf
from qrt.text.special import Kind

_KEY = "tokenizer.ggml."
_WORDS = (Kind.NORMAL, Kind.USER_DEFINED, Kind.UNUSED, Kind.UNDEFINED)
_MARKS = (*_WORDS, Kind.UNKNOWN, Kind.CONTROL)
_N_MIXED = 400
_SPACE = "\u2581"
_SETS_OF_FLAGS: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "t5": (
        {"add_space_prefix": True, "remove_extra_whitespaces": True},
        {"add_space_prefix": True, "remove_extra_whitespaces": False},
        {"add_space_prefix": False, "remove_extra_whitespaces": False, "add_bos_token": True},
    ),
    "bert": (
        {},
        {"normalizer.lowercase": False},
        {"normalizer.lowercase": False, "normalizer.strip_accents": True},
    ),
    "rwkv": ({},),
    "plamo2": ({},),
    "whitespace": ({}, {"normalizer.lowercase": True}),
}
MODELS = tuple(_SETS_OF_FLAGS)
"""Values of `tokenizer.ggml.model` that `as_models` makes of a sentencepiece file."""


def changed(source: Path, target: Path, changes: Mapping[str, object]) -> Path:
    """`target`, a copy of `source` with these `tokenizer.ggml.*` values."""
    with open_gguf(source) as file:
        values = {key: Typed(file.metadata.types[key], v) for key, v in file.metadata.items()}
        write_gguf(target, values | {_KEY + key: value for key, value in changes.items()})
    return target


def with_pre_tokenizer(source: Path, target: Path, name: str) -> Path:
    """A copy whose `tokenizer.ggml.pre` is `name`."""
    return changed(source, target, {"pre": name})


def with_mixed_kinds(source: Path, target: Path, seed: int) -> Path:
    """A copy in which tokens, those that look special before all, have types drawn by lot."""
    rng = random.Random(seed)
    with open_gguf(source) as file:
        pieces = list(file.metadata[_KEY + "tokens"])
        given = file.metadata.get(_KEY + "token_type")
        kinds = np.ones(len(pieces), np.int32) if given is None else np.array(given, np.int32)
    fixed = kinds == Kind.BYTE
    marks = [i for i, text in enumerate(pieces) if text[:1] in "<[" and len(text) > 2]
    words = [i for i, text in enumerate(pieces) if len(text) > 3 and text[0] not in "<["]
    for numbers, choice in ((marks, _MARKS), (words, _WORDS)):
        for i in rng.sample(numbers, min(len(numbers), _N_MIXED)):
            kinds[i] = kinds[i] if fixed[i] else rng.choice(choice)
    return changed(source, target, {"token_type": kinds})


def as_merges(source: Path, target: Path, name: str) -> Path:
    """A sentencepiece file as BPE over characters, for pre-tokenizers that do not encode bytes.

    Each piece can be made from every pair of pieces that spell it, the better scores first.
    """
    with open_gguf(source) as file:
        pieces = list(file.metadata[_KEY + "tokens"])
        scores = np.asarray(file.metadata[_KEY + "scores"]).tolist()
    known = set(pieces)
    ranked = sorted(range(len(pieces)), key=lambda i: -scores[i])
    merges = [
        f"{pieces[i][:cut]} {pieces[i][cut:]}"
        for i in ranked
        for cut in range(1, len(pieces[i]))
        if {pieces[i][:cut], pieces[i][cut:]} <= known
    ]
    tokens = [*pieces, *("\n" * n for n in range(1, 6) if "\n" * n not in known)]
    kinds = np.ones(len(tokens), np.int32)
    with open_gguf(source) as file:
        kinds[: len(pieces)] = np.asarray(file.metadata[_KEY + "token_type"])
    padded = np.array([*scores, *(0.0,) * (len(tokens) - len(pieces))], np.float32)
    merges += ["\n \n", "\n\n \n"]
    changes = {"tokens": tokens, "token_type": kinds, "scores": padded, "merges": merges}
    return changed(source, target, {"model": "gpt2", "pre": name, **changes})


def as_models(source: Path, target: Path, model: str) -> Iterator[Path]:
    """A sentencepiece file as one of `MODELS`, with each set of flags that matter to it."""
    with open_gguf(source) as file:
        pieces = list(file.metadata[_KEY + "tokens"])
        kinds = np.array(file.metadata[_KEY + "token_type"], np.int32)
        scores = np.array(file.metadata[_KEY + "scores"], np.float32)
    no_bytes = np.where(kinds == Kind.BYTE, np.int32(Kind.NORMAL), kinds)
    changes: dict[str, object] = {}
    if model == "t5":
        changes = {"precompiled_charsmap": nmt_nfkc()}
    elif model == "bert":
        changes = {"seperator_token_id": 2, "token_type": no_bytes}
    elif model == "rwkv":
        tokens = [_escaped(text, kind) for text, kind in zip(pieces, kinds, strict=True)]
        changes = {"tokens": tokens, "token_type": no_bytes}
    elif model == "plamo2":
        changes = {
            "tokens": [text.replace(_SPACE, " ") for text in pieces],
            "scores": scores / np.float32(3000),
        }
    if model == "whitespace":
        source = as_merges(source, target.with_suffix(".merges"), "whitespace")
    for flags in _SETS_OF_FLAGS[model]:
        yield changed(source, target, {**changes, **flags, "model": model})


def _escaped(text: str, kind: int) -> str:
    """A piece as files of RWKV spell it."""
    if kind == Kind.BYTE:
        byte = int(text[3:5], 16)
        return chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}"
    if len(text) == 1 and 0x20 < ord(text) < 0x7F and text != "\\":
        return f"\\x{ord(text):02x}"  # unlike the byte
    plain = text.replace(_SPACE, " ").replace("\\", "\\\\")
    return plain.replace("\n", "\\n").replace("\r", "\\r")


def nmt_nfkc() -> np.ndarray:
    """The charsmap that most sentencepiece models carry."""
    from sentencepiece import SentencePieceNormalizer

    proto = SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    at = proto.index(b"nmt_nfkc") + len(b"nmt_nfkc")
    size, shift, at = 0, 0, at + 1
    while True:
        size |= (proto[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if proto[at - 1] < 0x80:
            return np.frombuffer(proto[at : at + size], np.uint8)
