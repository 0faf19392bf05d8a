"""Perplexity of llama.cpp, computed as llama-perplexity does: FILE N_THREADS N_CTX CHUNKS.

Runs under an interpreter that has llama-cpp-python. The text comes in on standard input; CHUNKS 0
is all of it. Prints one JSON object: perplexity, perplexity_error, n_chunks.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys

import llama_cpp as llama
import numpy as np
from peer_worker import ignore, load


def tokenize(vocab: object, text: bytes) -> list[int]:
    """The ids of a text, begun as the vocabulary asks for."""
    ids = (llama.llama_token * (len(text) + 2))()
    n_tokens = llama.llama_tokenize(vocab, text, len(text), ids, len(ids), True, False)
    return list(ids[:n_tokens])


def losses(context: object, n_vocab: int, ids: list[int]) -> list[float]:
    """-log p of the tokens in the second half of a chunk."""
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    first = len(ids) // 2
    batch = llama.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i] = token, i
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        batch.logits[i] = i >= first
    if llama.llama_decode(context, batch):
        raise RuntimeError("llama_decode failed")
    llama.llama_batch_free(batch)
    found = []
    for i in range(first, len(ids) - 1):
        pointer = llama.llama_get_logits_ith(context, i)
        row = np.ctypeslib.as_array(pointer, (n_vocab,)).astype(np.float64)
        row -= row.max()
        found.append(float(np.log(np.exp(row).sum()) - row[ids[i + 1]]))
    return found


def main() -> None:
    path, n_threads, n_ctx, n_chunks = sys.argv[1], *map(int, sys.argv[2:])
    llama.llama_log_set(ignore, ctypes.c_void_p(0))
    model = load(path)
    vocab = llama.llama_model_get_vocab(model)
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
    params.n_threads = params.n_threads_batch = n_threads
    context = llama.llama_init_from_model(model, params)
    ids = tokenize(vocab, sys.stdin.buffer.read())
    chunks = [ids[at : at + n_ctx] for at in range(0, len(ids) - n_ctx + 1, n_ctx)]
    all_losses: list[float] = []
    for chunk in chunks[: n_chunks or None]:
        if llama.llama_vocab_get_add_bos(vocab):
            chunk[0] = llama.llama_vocab_bos(vocab)
        all_losses += losses(context, llama.llama_vocab_n_tokens(vocab), chunk)
    value = math.exp(np.mean(all_losses))
    error = value * math.sqrt(np.var(all_losses) / (len(all_losses) - 1))
    n_run = len(chunks[: n_chunks or None])
    print(json.dumps({"perplexity": value, "perplexity_error": error, "n_chunks": n_run}))


if __name__ == "__main__":
    main()
