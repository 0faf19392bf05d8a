"""Many prompts decoded together: the weights are read once for all rows of a step.

Run it with python examples/batch.py [MODEL.gguf].
"""

import sys
import time

import qrt

PROMPTS = [f"import {name}\n\n" for name in ("os", "sys", "json", "math", "random", "re", "ast")]

with qrt.load(*sys.argv[1:]) as model:
    began = time.perf_counter()
    for prompt in PROMPTS:
        model.generate(prompt, max_tokens=32, seed=1)
    alone = time.perf_counter() - began
    answers = model.generate_many(PROMPTS, max_tokens=32, seed=1)
    together = time.perf_counter() - began - alone
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        print(f"{prompt.strip()}: {answer.text.splitlines()[:1]}")
    print(f"one after the other {alone:.2f} s, together {together:.2f} s")
