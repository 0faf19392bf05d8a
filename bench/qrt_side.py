"""A model in qrt, stepped at the engine: prefill and decode without sampling or text."""

from __future__ import annotations

import time
from pathlib import Path

from tokens import token_ids

from qrt.backends.cpu.states import kv_bytes
from qrt.progress import no_progress
from qrt.runtime.engine import Engine
from qrt.runtime.loader import LoadOptions, load


class QrtSide:
    """One loaded model and one sequence. Every method that measures returns seconds."""

    def __init__(self, path: Path, n_threads: int, n_ctx: int, kv_type: str = "f16") -> None:
        options = LoadOptions(n_ctx=n_ctx, n_threads=n_threads, kv_type=kv_type)
        self.loaded = load(path, options, no_progress)
        self.engine = Engine(self.loaded.executor, self.loaded.graph.states, self.loaded.n_ctx)
        self.n_threads = n_threads
        self._seq = self.engine.open()
        self.kv_bytes = kv_bytes(self.loaded.graph.states, kv_type, 1)

    def bytes_read(self, n_tokens: int, depth: int) -> float:
        """Weights and KV that decoding `n_tokens` from `depth` on has to read."""
        positions = n_tokens * (depth + (n_tokens + 1) / 2)
        return n_tokens * self.loaded.weight_bytes + positions * self.kv_bytes

    def prefill(self, n_tokens: int) -> float:
        """A prompt of `n_tokens` from an empty cache to the logits of its last token."""
        ids = token_ids(n_tokens, self.loaded.graph.n_vocab)
        self.engine.cut(self._seq, 0)
        start = time.perf_counter()
        self.engine.append(self._seq, ids)
        return time.perf_counter() - start

    def decode(self, n_tokens: int, depth: int) -> float:
        """`n_tokens` one by one behind `depth` positions; those are filled first, uncounted."""
        ids = token_ids(depth + n_tokens, self.loaded.graph.n_vocab)
        n_kept = self.engine.cut(self._seq, depth)
        if n_kept < depth:
            self.engine.append(self._seq, ids[n_kept:depth])
        start = time.perf_counter()
        self.engine.append(self._seq, ids[depth:], chunk=1)
        return time.perf_counter() - start

    def close(self) -> None:
        """Frees the model."""
        self.engine.close()
        self.loaded.file.close()
