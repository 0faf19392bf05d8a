"""An answer as it comes, with how sure the model was of each token.

Run it with python examples/stream.py [MODEL.gguf].
"""

import math
import sys

import qrt

MESSAGES = [{"role": "user", "content": "What does json.dumps do?"}]

with qrt.load(*sys.argv[1:]) as model:
    unsure = []
    for record in model.stream_chat(MESSAGES, max_tokens=100, temperature=0, logprobs=3):
        print(record.text, end="", flush=True)
        if math.exp(record.logprob) < 0.95:
            unsure.append([model.detokenize([token]) for token, _ in record.top_logprobs])
    print(f"\nThese were close: {unsure}")
    print(f"{record.timings.decode_tok_s:.0f} tokens a second" if record.timings else "stopped")
