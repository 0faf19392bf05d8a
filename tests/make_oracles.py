"""Remakes tests/data/quant with llama-cpp-python: `python tests/make_oracles.py [TYPE...]`.

logits: llama.cpp on the dequantized weights in F32 with an F32 cache. peer_nmse: the error of
llama.cpp on the file as it is. Both with one thread and without flash attention.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray
from oracles import MODEL_TYPES, TESTS, TOKENS, data_folder

from qrt.formats.gguf import open_gguf
from qrt.formats.quants import QTYPES
from qrt.formats.writer import write_gguf


def peer_logits(path: Path, kv_type: int) -> NDArray[np.float32]:
    """(n_tokens, n_vocab), row i after tokens 0 .. i."""
    options = {"n_ctx": 64, "n_threads": 1, "n_threads_batch": 1, "flash_attn": False}
    model = llama_cpp.Llama(
        str(path), **options, type_k=kv_type, type_v=kv_type, logits_all=True, verbose=False
    )
    model.eval(TOKENS.tolist())
    return np.array(model.scores[: len(TOKENS)], np.float32)


def dequantized(path: Path, target: Path) -> Path:
    """The same model with all weights in F32."""
    with open_gguf(path) as file:
        tensors = [
            (name, QTYPES["F32"], t.shape, t.dequantize().tobytes())
            for name, t in file.tensors.items()
        ]
        write_gguf(target, file.metadata, tensors)
    return target


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or MODEL_TYPES:
            path = data_folder() / "quant" / f"llama-{name}.gguf"
            plain = dequantized(path, Path(folder) / "plain.gguf")
            exact = peer_logits(plain, llama_cpp.GGML_TYPE_F32)
            got = peer_logits(path, llama_cpp.GGML_TYPE_F16)
            wide = exact.astype(np.float64)
            nmse = ((got - wide) ** 2).mean() / (wide**2).mean()
            np.savez(TESTS / "data/quant" / f"llama-{name}.npz", logits=exact, peer_nmse=nmse)
            print(f"{name}: peer_nmse {nmse:.3g}")


if __name__ == "__main__":
    main()
