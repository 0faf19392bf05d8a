"""Continues a text, with the prompt before the answer, and prints the response."""

import json
import sys

from llama_cpp import Llama

llm = Llama(model_path=sys.argv[1], n_gpu_layers=-1, n_batch=256, verbose=False)
response = llm("def area(r):", max_tokens=24, stop=["\n\n", "#"], echo=True, temperature=0)
print(json.dumps(response))
