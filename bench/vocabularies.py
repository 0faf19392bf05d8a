"""Copies of a vocabulary file with another pre-tokenizer, other token types, or other merges."""

from __future__ import annotations

import random
from collections.abc import Mapping
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
