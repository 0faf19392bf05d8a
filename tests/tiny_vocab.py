"""Metadata of vocabularies of a few tokens, for the tests of tokenizers."""

from __future__ import annotations

import numpy as np

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
