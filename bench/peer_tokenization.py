"""What llama.cpp makes of texts with a vocabulary FILE, for bench/tokenization.py.

Runs under an interpreter that has llama-cpp-python. Texts come in on standard input as a JSON list;
prints one JSON object: "ids", a pair for each text, without and with special tokens parsed; "eog",
the ids that end a generation; "pieces", for each id its bytes (as Latin-1), special shown or not.
"""

from __future__ import annotations

import ctypes
import json
import sys

import llama_cpp as llama
from peer_worker import ignore


def tokenize(vocab: object, text: bytes, parse_special: bool) -> list[int]:
    """The ids of a text, begun and ended as the vocabulary asks for."""
    ids = (llama.llama_token * (8 * len(text) + 16))()
    n_tokens = llama.llama_tokenize(vocab, text, len(text), ids, len(ids), True, parse_special)
    return list(ids[:n_tokens])


def piece(vocab: object, token: int, special: bool) -> str:
    """The bytes that a token stands for, one character each."""
    size = 256
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = llama.llama_token_to_piece(vocab, token, buffer, size, 0, special)
        if n >= 0:
            return buffer.raw[:n].decode("latin-1")
        size = -n


def main() -> None:
    llama.llama_log_set(ignore, ctypes.c_void_p(0))
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(sys.argv[1].encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp refuses {sys.argv[1]}")
    vocab = llama.llama_model_get_vocab(model)
    texts = [text.encode() for text in json.load(sys.stdin)]
    tokens = range(llama.llama_vocab_n_tokens(vocab))
    answer = {
        "ids": [[tokenize(vocab, text, special) for special in (False, True)] for text in texts],
        "eog": [token for token in tokens if llama.llama_vocab_is_eog(vocab, token)],
        "pieces": [[piece(vocab, token, special) for special in (False, True)] for token in tokens],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
