"""Metadata of vocabularies of a few tokens, for the tests of tokenizers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.text.decode import BYTE_OF_CHAR

BYTES = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]


def tiny(**changes: object) -> dict[str, object]:
    """Metadata of a byte-level BPE vocabulary of the 256 bytes, two merges and two marks."""
    tokens = [*BYTE_OF_CHAR, "he", "hel", "<|im_start|>", "<|im_end|>"]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([1] * 258 + [3] * 2, np.int32),
        "tokenizer.ggml.merges": ["h e", "he l"],
        "tokenizer.ggml.eos_token_id": 259,
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def tiny_spm(**changes: object) -> dict[str, object]:
    """Metadata of a sentencepiece vocabulary of all bytes and a few pieces."""
    tokens = [*BYTES, "▁", "a", "▁a"]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.array([0.0] * 259 + [-3, -2, -1], np.float32),
        "tokenizer.ggml.token_type": np.array([2, 3, 3] + [6] * 256 + [1] * 3, np.int32),
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def tiny_characters(**changes: object) -> dict[str, object]:
    """Metadata of a BPE vocabulary over characters: all bytes and a few pieces."""
    feeds = ["\n" * n for n in (1, 2, 3, 5)]
    tokens = [*BYTES, "▁", "a", "b", "▁a", "ab", *feeds]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([2, 3, 3] + [6] * 256 + [1] * 9, np.int32),
        "tokenizer.ggml.merges": ["a b", "▁ a", "\n \n"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def tiny_unigram(**changes: object) -> dict[str, object]:
    """Metadata of a unigram vocabulary (T5) with a token of each type and the usual charsmap."""
    marks = ["<pad>", "</s>", "<unk>"]
    tokens = [*marks, "▁", "a", "b", "▁a", "ab", "▁ab", "é", "fi", "<x>", "ba", "<c>"]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.array(
            [0, 0, 0, -2, -3.5, -4, -3, -5, -5.5, -6, -4, 0, -1, 0], np.float32
        ),
        "tokenizer.ggml.token_type": np.array([3, 3, 2] + [1] * 8 + [4, 5, 3], np.int32),
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.precompiled_charsmap": nmt_nfkc(),
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def tiny_wordpiece(**changes: object) -> dict[str, object]:
    """Metadata of a WordPiece vocabulary (BERT)."""
    words = ["▁hello", "▁he", "l", "lo", "▁!", "▁e", "▁é", "▁E", "▁中", "x"]
    tokens = ["[CLS]", "[SEP]", "[UNK]", *words, "▁zz"]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([3, 3, 2] + [1] * 10 + [3], np.int32),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.seperator_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 2,
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def tiny_rwkv(**changes: object) -> dict[str, object]:
    """Metadata of an RWKV vocabulary: all bytes and a few pieces."""
    pieces = ["ab", "abcd", " a", "\\n\\n", "\\\\", "é"]
    tokens = ["<s>", *(f"\\x{b:02x}" for b in range(256)), *pieces]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "rwkv",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([3] + [1] * 262, np.int32),
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def tiny_plamo2(**changes: object) -> dict[str, object]:
    """Metadata of a PLaMo 2 vocabulary: all bytes and a few pieces, one with too low a score."""
    pieces = {"ab": -1, "abc": -2.5, "b": -1.0001, " a": 0.5, "c": -3, "a": -1}
    pieces |= {"ééé": -2500, "中文": 2, "cc": -7}
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "plamo2",
        "tokenizer.ggml.tokens": [*BYTES[:3], "<pad>", *BYTES[3:], *pieces],
        "tokenizer.ggml.scores": np.array([0.0] * 260 + [*pieces.values()], np.float32),
        "tokenizer.ggml.token_type": np.array([2, 3, 3, 3] + [6] * 256 + [1] * 9, np.int32),
    }
    return metadata | {"tokenizer.ggml." + key: value for key, value in changes.items()}


def nmt_nfkc() -> NDArray[np.uint8]:
    """The charsmap that most sentencepiece models carry."""
    from sentencepiece import SentencePieceNormalizer

    proto = SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    at = proto.index(b"nmt_nfkc") + len(b"nmt_nfkc") + 1
    size = 0
    for shift in range(0, 64, 7):
        size |= (proto[at] & 0x7F) << shift
        at += 1
        if proto[at - 1] < 0x80:
            break
    return np.frombuffer(proto[at : at + size], np.uint8)
