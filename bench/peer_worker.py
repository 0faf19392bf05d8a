"""llama.cpp as something to measure: runs under an interpreter that has llama-cpp-python.

Reads one JSON object a line, answers each by one: {"op": "load", "path", "n_threads", "n_ctx"},
{"op": "prefill", "flash", "n_tokens"}, {"op": "decode", "flash", "n_tokens", "depth"}. An answer is
{"seconds"}; to load, {"version"}. `flash` is whether flash attention is on. The end of the input
ends the process.
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


def load(path: str, n_threads: int, n_ctx: int) -> dict[bool, Context]:
    """A context for either setting, warm, on one model."""
    params = llama.llama_model_default_params()
    params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(path.encode(), params)
    if model is None:
        raise OSError(f"llama.cpp cannot load {path}")
    contexts = {flash: Context(model, n_threads, n_ctx, flash) for flash in FLASH}
    for context in contexts.values():
        context.prefill(32)
        context.decode(2, 0)
    return contexts


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    llama.llama_log_set(ignore, ctypes.c_void_p(0))
    contexts: dict[bool, Context] = {}
    for line in sys.stdin:
        request = json.loads(line)
        op = request.pop("op")
        if op == "load":
            contexts = load(**request)
            answer: dict[str, object] = {"version": llama.__version__}
        else:
            context = contexts[request.pop("flash")]
            answer = {"seconds": getattr(context, op)(**request)}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
