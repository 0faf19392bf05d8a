"""A vocabulary and a conversation for tests of chat templates."""

from __future__ import annotations

import numpy as np

from qrt.text import ChatTemplate, Tokenizer, load_tokenizer
from qrt.text.decode import BYTE_OF_CHAR

CHATML_MARKS = ("<|im_start|>", "<|im_end|>")
LLAMA_3_MARKS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>")
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
]
TALK = CONVERSATION[1:]


def vocabulary(*marks: str, bos: str | None = None, add_bos: bool = False) -> Tokenizer:
    """A byte-level vocabulary with these control tokens."""
    tokens = [*BYTE_OF_CHAR, *marks]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([1] * 256 + [3] * len(marks), np.int32),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.eos_token_id": 256 + len(marks) - 1,
        "tokenizer.ggml.add_bos_token": add_bos,
    }
    if bos is not None:
        metadata["tokenizer.ggml.bos_token_id"] = tokens.index(bos)
    return load_tokenizer(metadata, "test")


def rendered(
    template: ChatTemplate, messages: object, template_vars: object = None, **options: bool
) -> str:
    spans = template.render(messages, template_vars or {}, **options)  # type: ignore[arg-type]
    return "".join(text for text, _ in spans)
