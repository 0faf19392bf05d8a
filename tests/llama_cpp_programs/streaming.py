"""Prints the parts of a continuation as they come."""

import json
import sys

from llama_cpp import Llama

llm = Llama(model_path=sys.argv[1], verbose=False)
for part in llm("def area(r):", max_tokens=24, stop=["\n\n", "#"], stream=True, temperature=0):
    print(json.dumps(part))
