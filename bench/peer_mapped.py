"""A whole process of llama.cpp with its weights mapped: FILE N_THREADS N_CTX N_PREFILL N_DECODE.

Runs under an interpreter that has llama-cpp-python; prints seconds as one line of JSON. Nothing is
repacked, which would take memory of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

import llama_cpp as llama
from peer_worker import Context, ignore

path, *counts = sys.argv[1:]
n_threads, n_ctx, n_prefill, n_decode = map(int, counts)
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what llama.cpp prints is no answer
llama.llama_log_set(ignore, ctypes.c_void_p(0))
params = llama.llama_model_default_params()
params.n_gpu_layers = 0
params.use_extra_bufts = False
start = time.perf_counter()
model = llama.llama_model_load_from_file(path.encode(), params)
context = Context(model, n_threads, n_ctx, flash=True)
found = {"load": time.perf_counter() - start}
context.decode(1, 0)
found["decode"] = context.decode(n_decode, 0)
found["prefill"] = context.prefill(n_prefill)
print(json.dumps(found), file=answers)
