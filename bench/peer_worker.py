"""llama.cpp as something to measure: runs under an interpreter that has llama-cpp-python.

Reads one JSON object a line, answers each by one: {"op": "load", "path", "n_threads", "n_ctx"},
{"op": "prefill", "flash", "n_tokens"}, {"op": "decode", "flash", "n_tokens", "depth"},
{"op": "batch", "n_tokens", "depth", "n_sequences"}. An answer is {"seconds"}; to load, {"version"}.
`flash` is whether flash attention is on. The end of the input ends the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any

import llama_cpp as llama
from tokens import token_ids

N_UBATCH = 512
FLASH = {False: llama.LLAMA_FLASH_ATTN_TYPE_DISABLED, True: llama.LLAMA_FLASH_ATTN_TYPE_ENABLED}


@llama.llama_log_callback
def ignore(level: int, text: bytes, data: object) -> None:
    """Takes llama.cpp's log."""


class Context:
    """A context of one setting, and how many of its positions are filled."""

    def __init__(self, model: Any, n_threads: int, n_ctx: int, flash: bool) -> None:
        params = llama.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = N_UBATCH
        params.n_threads = params.n_threads_batch = n_threads
        params.flash_attn_type = FLASH[flash]
        self._context = llama.llama_init_from_model(model, params)
        if self._context is None:
            raise MemoryError(f"no context of {n_ctx} positions")
        self._n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self._n_filled = 0

    def prefill(self, n_tokens: int) -> float:
        """Seconds for a prompt from an empty cache."""
        self._cut(0)
        return self._feed(token_ids(n_tokens, self._n_vocab), N_UBATCH)

    def decode(self, n_tokens: int, depth: int) -> float:
        """Seconds for tokens one by one behind `depth` positions."""
        ids = token_ids(depth + n_tokens, self._n_vocab)
        self._cut(min(depth, self._n_filled))
        self._feed(ids[self._n_filled : depth], N_UBATCH)
        return self._feed(ids[depth:], 1)

    def _cut(self, n_positions: int) -> None:
        llama.llama_memory_seq_rm(llama.llama_get_memory(self._context), 0, n_positions, -1)
        self._n_filled = n_positions

    def _feed(self, ids: list[int], n_batch: int) -> float:
        start = time.perf_counter()
        for at in range(0, len(ids), n_batch):
            part = ids[at : at + n_batch]
            tokens = (llama.llama_token * len(part))(*part)
            if llama.llama_decode(self._context, llama.llama_batch_get_one(tokens, len(part))):
                raise RuntimeError(f"llama_decode failed at position {self._n_filled}")
            llama.llama_synchronize(self._context)
            self._n_filled += len(part)
        return time.perf_counter() - start


class Sequences:
    """A context with several sequences, all at one depth."""

    def __init__(self, model: Any, n_threads: int, depth: int, n_tokens: int, n: int) -> None:
        params = llama.llama_context_default_params()
        params.n_ctx = n * (depth + n_tokens + 1)
        params.n_batch = params.n_ubatch = N_UBATCH
        params.n_threads = params.n_threads_batch = n_threads
        params.n_seq_max = n
        params.kv_unified = True
        params.flash_attn_type = FLASH[False]
        self._context = llama.llama_init_from_model(model, params)
        n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self._ids, self._depth, self._n = token_ids(depth + n_tokens, n_vocab), depth, n
        for seq in range(n):
            self._step([(seq, at) for at in range(depth)])

    def _step(self, rows: list[tuple[int, int]]) -> None:
        """One batch of (sequence, position) rows."""
        batch = llama.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (seq, at) in enumerate(rows):
            batch.token[i], batch.pos[i] = self._ids[at], at
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
            batch.logits[i] = at >= self._depth
        if llama.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        llama.llama_synchronize(self._context)
        llama.llama_batch_free(batch)

    def decode(self) -> float:
        """Seconds for all tokens of all sequences."""
        for seq in range(self._n):
            memory = llama.llama_get_memory(self._context)
            llama.llama_memory_seq_rm(memory, seq, self._depth, -1)
        start = time.perf_counter()
        for at in range(self._depth, len(self._ids)):
            self._step([(seq, at) for seq in range(self._n)])
        return time.perf_counter() - start

    def close(self) -> None:
        """Frees the context."""
        llama.llama_free(self._context)


class Peer:
    """A model, a warm context for flash attention off and on, and one for several sequences."""

    def __init__(self, path: str, n_threads: int, n_ctx: int) -> None:
        self._model, self._n_threads = load(path), n_threads
        self._contexts = {f: Context(self._model, n_threads, n_ctx, f) for f in FLASH}
        self._sequences: dict[tuple[int, int, int], Sequences] = {}
        for context in self._contexts.values():
            context.prefill(32)
            context.decode(2, 0)

    def prefill(self, flash: bool, n_tokens: int) -> float:
        return self._contexts[flash].prefill(n_tokens)

    def decode(self, flash: bool, n_tokens: int, depth: int) -> float:
        return self._contexts[flash].decode(n_tokens, depth)

    def batch(self, n_tokens: int, depth: int, n_sequences: int) -> float:
        key = depth, n_tokens, n_sequences
        if key not in self._sequences:
            for other in self._sequences.values():
                other.close()
            self._sequences = {key: Sequences(self._model, self._n_threads, *key)}
        return self._sequences[key].decode()


def load(path: str) -> Any:
    """The model in a file."""
    params = llama.llama_model_default_params()
    params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), params)
    if model is None:
        raise OSError(f"llama.cpp cannot load {path}")
    return model


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    llama.llama_log_set(ignore, ctypes.c_void_p(0))
    peer: Peer | None = None
    for line in sys.stdin:
        request = json.loads(line)
        op = request.pop("op")
        if op == "load":
            peer = Peer(**request)
            answer: dict[str, object] = {"version": llama.__version__}
        else:
            answer = {"seconds": getattr(peer, op)(**request)}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
