"""llama.cpp's embeddings as something to measure: runs under an interpreter with llama-cpp-python.

Reads one JSON object a line, answers each by one: {"op": "load", "path", "n_threads"} by
{"version", "settings"}, a name for each way to set it up; {"op": "embed", "texts", "setting"},
lists of token ids, by {"seconds"}. The end of the input ends the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any

import llama_cpp as llama
from peer_worker import FLASH, ignore, load

SETTINGS = {
    f"ubatch {n_ubatch}, flash {'on' if flash else 'off'}": (n_ubatch, flash)
    for n_ubatch in (512, 2048)
    for flash in FLASH
}
N_SEQ = 64


class Context:
    """A context that pools as the model's file says."""

    def __init__(self, model: Any, n_threads: int, n_ubatch: int, flash: bool) -> None:
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = n_ubatch
        params.n_seq_max = N_SEQ
        params.n_threads = params.n_threads_batch = n_threads
        params.embeddings = True
        params.kv_unified = True
        params.flash_attn_type = FLASH[flash]
        self._context = llama.llama_init_from_model(model, params)
        self._n_most = n_ubatch
        self._dim = llama.llama_model_n_embd(model)

    def embed(self, texts: list[list[int]]) -> float:
        """Seconds for the vectors of texts, as many in a batch as it takes."""
        start = time.perf_counter()
        batch: list[list[int]] = []
        for text in texts:
            if sum(map(len, batch)) + len(text) > self._n_most or len(batch) == N_SEQ:
                self._run(batch)
                batch = []
            batch.append(text)
        self._run(batch)
        return time.perf_counter() - start

    def _run(self, texts: list[list[int]]) -> None:
        batch = llama.llama_batch_init(sum(map(len, texts)), 0, 1)
        rows = [(seq, at, token) for seq, text in enumerate(texts) for at, token in enumerate(text)]
        batch.n_tokens = len(rows)
        for i, (seq, at, token) in enumerate(rows):
            batch.token[i], batch.pos[i] = token, at
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
            batch.logits[i] = True
        memory = llama.llama_get_memory(self._context)
        if memory:
            llama.llama_memory_clear(memory, True)
        if llama.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        for seq in range(len(texts)):
            pointer = llama.llama_get_embeddings_seq(self._context, seq)
            assert pointer[: self._dim]
        llama.llama_batch_free(batch)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    llama.llama_log_set(ignore, ctypes.c_void_p(0))
    contexts: dict[str, Context] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        if asked["op"] == "load":
            model = load(asked["path"])
            contexts = {
                name: Context(model, asked["n_threads"], *setting)
                for name, setting in SETTINGS.items()
            }
            answer = {"version": llama.__version__, "settings": list(SETTINGS)}
        else:
            answer = {"seconds": contexts[asked["setting"]].embed(asked["texts"])}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
