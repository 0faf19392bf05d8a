"""A whole process of llama.cpp that prints one token: FILE PROMPT N_THREADS N_CTX.

Runs under an interpreter that has llama-cpp-python.
"""

from __future__ import annotations

import sys

from llama_cpp import Llama

path, prompt, n_threads, n_ctx = sys.argv[1:]
model = Llama(path, n_ctx=int(n_ctx), n_threads=int(n_threads), verbose=False)
print(model(prompt, max_tokens=1)["choices"][0]["text"] or ".", flush=True)
