"""Tokens where vocabularies and rules are unusual: all expected ids are llama.cpp's."""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tiny_vocab import BYTES, tiny, tiny_characters, tiny_spm

from qrt.formats.gguf import open_gguf
from qrt.text import Tokenizer, bpe, load_tokenizer
from qrt.text.decode import BYTE_OF_CHAR

Metadata = Mapping[str, object]


@pytest.fixture(scope="session")
def vocabularies(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Metadata]:
    """Metadata of the vocabularies of GPT-2 and Qwen2."""
    found: dict[str, Metadata] = {}
    for name in ("gpt-2", "qwen2"):
        packed = data / "vocab" / f"ggml-vocab-{name}.gguf.xz"
        path = tmp_path_factory.mktemp("vocab") / f"{name}.gguf"
        path.write_bytes(lzma.decompress(packed.read_bytes()))
        with open_gguf(path) as file:
            found[name] = dict(file.metadata)
    return found


def both_engines_agree(tokenizer: Tokenizer, text: str) -> bool:
    encoder = tokenizer._encoder
    assert isinstance(encoder, bpe.BpeEncoder)
    if encoder._family.escapes_space:
        text = text.replace(" ", "▁")
    return encoder.encode(text) == encoder._encode_long(text)


@pytest.mark.parametrize(
    ("vocab", "pre", "text", "expected"),
    [
        ("gpt-2", "kimi-k2", "中文the 1234's", [40792, 23877, 229, 1169, 220, 10163, 19, 338]),
        ("gpt-2", "kimi-k2", "e\u0301's The'LL", [68, 136, 223, 6, 82, 383, 6, 3069]),
        ("gpt-2", "afmoe", "the1234567 of", [1169, 16, 24409, 20, 3134, 286]),
        ("gpt-2", "afmoe", "a 123456 of12", [64, 220, 10163, 29228, 286, 1065]),
        ("gpt-2", "tiny_aya", "Hello's12 345678", [15496, 338, 1065, 220, 27712, 30924]),
        ("gpt-2", "cohere2moe", "of 1000", [1659, 220, 16, 830]),
        ("gpt-2", "superbpe", "12345 the½678901", [1065, 27712, 262, 23141, 30924, 46815]),
        ("gpt-2", "superbpe", "1234567the", [16, 24409, 20, 3134, 1169]),
        ("gpt-2", "glm5", "The 1000's\n\nof", [464, 220, 3064, 15, 338, 628, 1659]),
        ("gpt-2", "gpt-4o", "e\u0301's", [68, 136, 223, 6, 82]),
        ("gpt-2", "tekken", "e\u0301's", [68, 136, 223, 6, 82]),
        ("gpt-2", "granite-embed-multi-97m", "e\u0301's", [68, 136, 223, 338]),
        ("gpt-2", "deepseek-llm", "1 \u3000 \u2028", [16, 220, 5099, 222, 564, 101]),
        ("gpt-2", "deepseek-coder", "1   \u202f\u2028", [16, 220, 220, 564, 107, 447, 101]),
        ("qwen2", "qwen2", "\U00013571.com", [124373, 243, 109, 13, 874]),
    ],
)
def test_words(
    vocabularies: Mapping[str, Metadata], vocab: str, pre: str, text: str, expected: list[int]
) -> None:
    tokenizer = load_tokenizer({**vocabularies[vocab], "tokenizer.ggml.pre": pre}, pre)
    assert tokenizer.tokenize(text, add_special=False) == expected
    assert both_engines_agree(tokenizer, text)


@pytest.mark.parametrize(
    ("changes", "text", "expected"),
    [
        ({"pre": "sarvam-moe"}, "ab a\n\n\nbé▁a", [263, 262, 265, 264, 261, 198, 172, 262]),
        (
            {"pre": "gemma4", "add_bos_token": False},
            "ab a\n\n\nbé",
            [1, 263, 262, 266, 261, 198, 172],
        ),
        ({"pre": "gemma4"}, "ab a\n\n\n\né", [1, 263, 262, 265, 265, 198, 172]),
        ({"model": "gemma4", "pre": "default"}, "a\n\n\n\n\n", [1, 260, 267]),
        ({"pre": "granite-embed-multi-311m"}, "b  a", [1, 261, 259, 262]),
        ({"pre": "whitespace"}, "ab ba é", [263, 35, 261, 260, 35, 198, 172]),
    ],
)
def test_characters(changes: Metadata, text: str, expected: list[int]) -> None:
    tokenizer = load_tokenizer(tiny_characters(**changes), "tiny")
    ids = tokenizer.tokenize(text)
    assert ids == expected
    assert tokenizer.least_tokens(text) <= len(ids)
    assert both_engines_agree(tokenizer, text)
    if changes["pre"] != "whitespace":
        assert tokenizer.detokenize(ids) == text.replace("▁", " ")


def marks(*names: str, types: list[int], **changes: object) -> Metadata:
    """A vocabulary of bytes with these tokens behind them, from 258 on; 0 ends generation."""
    tokens = [*BYTE_OF_CHAR, "he", "hel", *names]
    kinds = np.array([1] * 258 + types, np.int32)
    return tiny(tokens=tokens, token_type=kinds, **{"eos_token_id": 0, **changes})


X_END = [27, 91, 72, 76, 62, 68, 77, 67, 91, 29]
PAD = [27, 47, 32, 35, 29]
CALL = [27, 91, 66, 64, 75, 75, 91, 29]


@pytest.mark.parametrize(
    ("metadata", "text", "plain", "special", "ends"),
    [
        (marks("</s>", types=[1]), "a</s>", [64, 27, 14, 82, 29], [64, 258], {0, 258}),
        (
            marks("<|x|>", "<|im_end|>", types=[4, 3]),
            *("<|x|><|im_end|>", [258, *X_END], [258, 259], {0, 259}),
        ),
        (
            marks("<|a", "a<|bb|>", types=[4, 4]),
            *("<|a<|bb|>", [27, 91, 259], [27, 91, 259], {0}),
        ),
        (marks("<PAD>", "x>", types=[1, 3]), "<PAD>", PAD, [258], {0, 258}),
        (
            marks("<PAD>", "<mid>", types=[1, 3], fim_pad_token_id=259),
            *("<PAD>", PAD, PAD, {0, 259}),
        ),
        (
            marks("<|return|>", "<|call|>", "<|end|>", "<|channel|>", types=[3, 3, 3, 3]),
            *("<|end|><|channel|><|call|>", [260, 261, *CALL], [260, 261, 259], {0, 258, 259}),
        ),
        (
            marks("</s>", "<|tool_response>", types=[3, 3]),
            *("</s>", [27, 14, 82, 29], [27, 14, 82, 29], {0, 259}),
        ),
        (
            marks("hello", types=[1], pre="glm4"),
            *("hello hel", [258, 220, 257], [258, 220, 257], {0}),
        ),
        (
            tiny_spm(
                tokens=[*BYTES, "▁", "a", "▁a", "aa", "aaaa"],
                scores=np.array([0.0] * 259 + [-3, -2, -1, 0, 0], np.float32),
                token_type=np.array([2, 3, 3] + [6] * 256 + [1, 1, 1, 5, 4], np.int32),
            ),
            *("aaa aaaaaa", [1, 259, 262, 260, 259, 263, 259, 262]),
            *([1, 259, 262, 260, 259, 263, 259, 262], {2}),
        ),
    ],
)
def test_kinds_of_tokens(
    metadata: Metadata, text: str, plain: list[int], special: list[int], ends: set[int]
) -> None:
    tokenizer = load_tokenizer(metadata, "tiny")
    assert tokenizer.tokenize(text) == plain
    assert tokenizer.tokenize(text, parse_special=True) == special
    assert tokenizer.eog_ids == ends


def test_roles_of_fill_in_the_middle() -> None:
    names = ("<|fim_prefix|>", "<PRE>", "<|fim_suffix|>", "<x>")
    metadata = marks(*names, types=[3, 3, 3, 3], middle_token_id=261)
    found = {"fim_pre": 258, "fim_suf": 260, "fim_mid": 261}
    assert load_tokenizer(metadata, "tiny").fim_ids == found


def test_no_span_that_forbids_it_holds_a_mark() -> None:
    metadata = marks("<|return|>", "<|call|>", "<|end|>", "<|x|>", types=[3, 3, 3, 4])
    tokenizer = load_tokenizer(metadata, "tiny")
    assert tokenizer.tokenize("<|end|><|x|>") == [260, 261]
    assert tokenizer.detokenize([260, 261, 258]) == "<|end|><|x|>"
    for text in ("<|call|>", "<|end|>", "<|x|>"):
        assert not {259, 260, 261} & set(tokenizer.tokenize_spans([(text, False)]))


def test_a_mask_takes_the_space_before_it() -> None:
    metadata = marks("<mask>", types=[3], pre="jina-v2-de")
    tokenizer = load_tokenizer(metadata, "tiny")
    assert tokenizer.tokenize("a \t<mask> a", parse_special=True) == [64, 258, 220, 64]
    assert tokenizer.least_tokens(" " * 50 + "<mask>") <= 1
