"""Tells what else a model might have said, token by token."""

import json
import sys

import llama_cpp

llm = llama_cpp.Llama(sys.argv[1], logits_all=True, seed=7, verbose=False)
response = llm.create_completion("def area(r):", max_tokens=6, logprobs=3, temperature=0)
print(json.dumps(response["choices"][0]["logprobs"], default=float))
