"""Tokens of vocabularies that are not BPE or sentencepiece: all expected ids are llama.cpp's."""

from __future__ import annotations

import lzma
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from test_tokenizer import cases
from tiny_vocab import (
    nmt_nfkc,
    tiny_characters,
    tiny_plamo2,
    tiny_rwkv,
    tiny_unigram,
    tiny_wordpiece,
)

from qrt.errors import VocabError
from qrt.formats.gguf import open_gguf
from qrt.text import load_tokenizer

Metadata = Mapping[str, object]
PLAIN = {"add_space_prefix": False, "remove_extra_whitespaces": False, "add_eos_token": False}
PREFIXED = {**PLAIN, "add_space_prefix": True}
WHITESPACE = {"model": "whitespace", "pre": "whitespace", "eos_token_id": 2}
MARKS = {"tokens": [*tiny_unigram()["tokenizer.ggml.tokens"][:11], "ａ<x>", "ba", "<c>"]}
LOW = {"scores": np.array([0, 0, 0, -2, -3.5, -4, -3, -5, -5.5, -6, -4, 0, -9, 0], np.float32)}
CASES: list[tuple[Metadata, str, list[int]]] = [
    (tiny_unigram(), "ab  ba b", [8, 3, 12, 3, 5, 1]),
    (tiny_unigram(), " ab", [8, 1]),
    (tiny_unigram(), "\uff41\uff42 \ufb01", [8, 3, 10, 1]),
    (tiny_unigram(), "e\u0301a", [3, 9, 4, 1]),
    (tiny_unigram(), "xy ab\u4e2d\u6587b", [3, 2, 8, 2, 5, 1]),
    (tiny_unigram(), "  ", [1]),
    (tiny_unigram(), "a<x>b", [6, 11, 3, 5, 1]),
    (tiny_unigram(), "<\u0338a", [3, 2, 4, 1]),
    (tiny_unigram(), "ab\u200b\tba", [8, 3, 12, 1]),
    (tiny_unigram(**PLAIN), "ab  ab ", [7, 3, 8, 3]),
    (tiny_unigram(**PLAIN), " \u3000a", [3, 6]),
    (tiny_unigram(**PREFIXED, add_bos_token=True, bos_token_id=0), "  ab  a", [0, 3, 3, 8, 3, 6]),
    (tiny_unigram(**PREFIXED, add_bos_token=True, bos_token_id=0), "\xe9", [0, 3, 9]),
    (tiny_unigram(precompiled_charsmap=None), "\uff41 fi \xe9", [3, 2, 3, 10, 3, 9, 1]),
    (tiny_unigram(**MARKS), "\uff41b \uff41<b", [3, 2, 5, 3, 2, 5, 1]),
    (tiny_unigram(**LOW), "abba", [8, 5, 4, 1]),
    (tiny_wordpiece(), "Hello, HELLO!", [0, 3, 2, 3, 7, 1]),
    (tiny_wordpiece(), "\xc9 e\u0301\u0301 \u4e2dx", [0, 8, 8, 11, 2, 1]),
    (tiny_wordpiece(), "hellox he\xadllo", [0, 3, 12, 3, 1]),
    (tiny_wordpiece(), "hel lo he llo", [0, 4, 5, 2, 4, 2, 1]),
    (tiny_wordpiece(), "\u1100\uac01 xyz\ufffd\t!", [0, 2, 2, 7, 1]),
    (
        tiny_wordpiece(**{"normalizer.lowercase": False}),
        "hello Hello \xc9 E E\u0301 \xe9",
        [0, 3, 2, 2, 10, 2, 9, 1],
    ),
    (
        tiny_wordpiece(**{"normalizer.lowercase": False, "normalizer.strip_accents": True}),
        "\xc9 \xe9",
        [0, 10, 8, 1],
    ),
    (tiny_rwkv(), "abcab a\n\n\\\xe9\n", [257, 100, 257, 259, 260, 261, 262, 11]),
    (tiny_rwkv(), "abcd\x00\x7f\u4e2d", [258, 1, 128, 229, 185, 174]),
    (tiny_plamo2(), "abcab a", [261, 260, 263]),
    (tiny_plamo2(), "\ufeff\u4e2d\u6587 \xe9\u4e2d", [267, 36, 199, 173, 232, 188, 177]),
    (tiny_plamo2(), "abbcc", [260, 262, 264, 264]),
    (tiny_plamo2(), "ééééé", [199, 173] * 5),
    (
        tiny_characters(**WHITESPACE),
        "Ab \u2003ba\n\n\xe9\x1cA",
        [68, 261, 261, 260, 198, 172, 31, 68],
    ),
    (
        tiny_characters(**WHITESPACE, **{"normalizer.lowercase": True}),
        "AB bA \u0130",
        [263, 261, 260, 108],
    ),
]


def test_bert_matches_reference(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "bert-bge.gguf"
    path.write_bytes(lzma.decompress((data / "vocab" / f"ggml-vocab-{path.name}.xz").read_bytes()))
    with open_gguf(path) as file:
        tokenizer = load_tokenizer(file.metadata, "bert-bge")
    for text, expected in cases(data, "bert-bge"):
        assert tokenizer.tokenize(text, add_special=False) == expected
        assert tokenizer.tokenize(text) == [101, *expected, 102]
        assert tokenizer.least_tokens(text) <= len(expected)


@pytest.mark.parametrize(("metadata", "text", "expected"), CASES)
def test_tokens(metadata: Metadata, text: str, expected: list[int]) -> None:
    tokenizer = load_tokenizer(metadata, "tiny")
    ids = tokenizer.tokenize(text)
    assert ids == expected
    assert tokenizer.tokenize(text, parse_special=True) == expected
    assert tokenizer.least_tokens(text) <= len(ids)
    if metadata["tokenizer.ggml.model"] in ("rwkv", "plamo2"):
        assert tokenizer.detokenize(ids) == text.removeprefix("\ufeff")


@pytest.mark.parametrize("make", [tiny_unigram, tiny_wordpiece, tiny_rwkv, tiny_plamo2])
def test_plain_text_makes_no_control_token(make: Callable[[], Metadata]) -> None:
    metadata = make()
    tokenizer = load_tokenizer(metadata, "tiny")
    for token in np.flatnonzero(metadata["tokenizer.ggml.token_type"] == 3).tolist():
        piece = tokenizer.piece(token)
        for text in (piece, piece.replace("▁", " "), f"a{piece}b", piece * 2):
            assert token not in tokenizer.tokenize_spans([(text, False)], add_special=False)
        assert token in tokenizer.tokenize(piece, parse_special=True)


@pytest.mark.parametrize("make", [tiny_unigram, tiny_wordpiece, tiny_rwkv, tiny_plamo2])
@pytest.mark.parametrize("text", ["ab", "中", "<", " "])
def test_long_input_takes_linear_time(make: Callable[[], Metadata], text: str) -> None:
    tokenizer = load_tokenizer(make(), "tiny")
    tokenizer.tokenize("warm")

    def seconds(n_characters: int) -> float:
        long, best = text * (n_characters // len(text)), 9.0
        for _ in range(3):
            start = time.process_time()
            tokenizer.tokenize(long, parse_special=True)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(1 << 16) <= 24 * seconds(1 << 13) + 0.05


def charsmap(units: list[int], replacements: bytes) -> np.ndarray:
    """A charsmap of these trie units."""
    trie = np.array(units, "<u4").tobytes()
    return np.frombuffer(len(trie).to_bytes(4, "little") + trie + replacements, np.uint8)


BAD_PLACE = charsmap([0] * 97 + [0x161] + [9] * 160, b"\0")
"""A trie in which "a" ends, with a replacement where there is none."""


def cycle_of_a() -> np.ndarray:
    """A trie in which any number of "a" leads on and nothing ends."""
    return charsmap([ord("a")] * 256, b"\0")


def test_a_trie_with_a_cycle_takes_linear_time() -> None:
    tokenizer = load_tokenizer(tiny_unigram(precompiled_charsmap=cycle_of_a()), "tiny")
    start = time.perf_counter()
    assert len(tokenizer.tokenize("a" * 5000, add_special=False)) == 5000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (tiny_unigram(precompiled_charsmap=np.zeros(3, np.uint8)), "3 bytes"),
        (tiny_unigram(precompiled_charsmap=nmt_nfkc()[:1000]), "damaged: 1000 bytes"),
        (tiny_unigram(precompiled_charsmap=nmt_nfkc()[:-1]), "damaged"),
        (tiny_unigram(precompiled_charsmap=np.zeros(9)), "array of float64"),
        (tiny_unigram(precompiled_charsmap=charsmap([1 << 30], b"\0")), "leads to unit"),
        (tiny_unigram(precompiled_charsmap=BAD_PLACE), "replacement at"),
        (tiny_unigram(scores=np.full(14, np.inf, np.float32)), "score of token 0"),
        (tiny_unigram(unknown_token_id=14), "14, outside"),
        (
            {
                "tokenizer.ggml.model": "t5",
                "tokenizer.ggml.tokens": ["a", "b"],
            },
            "no unknown token",
        ),
        (tiny_plamo2(token_type=np.array([2, 3, 3, 3, 1] + [6] * 255 + [1] * 9)), "255 byte"),
        (tiny_plamo2(scores=np.zeros(9, np.float32)), "9 entries"),
        (tiny_wordpiece(seperator_token_id=14), "14, outside"),
        (tiny_wordpiece(**{"normalizer.lowercase": 1}), "expected true or false"),
    ],
)
def test_unusable_vocabularies(metadata: Metadata, message: str) -> None:
    with pytest.raises(VocabError, match=message):
        load_tokenizer(metadata, "file.gguf").tokenize("a")
