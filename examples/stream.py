"""An answer as it comes, with how sure the model was of each token.

Run it with python examples/stream.py [MODEL.gguf].
"""

import math
import sys

import qrt

MESSAGES = [{"role": "user", "content": "What does json.dumps do?"}]

with qrt.load(*sys.argv[1:]) as model:
    close: list[list[str]] = []
    stream = model.stream_chat(MESSAGES, max_tokens=100, temperature=0, logprobs=3)
    for record in stream:
        print(record.text, end="", flush=True)
        if math.exp(record.logprob) < 0.95:
            close.append([model.detokenize([token]) for token, _ in record.top_logprobs])
    print(f"\nThese were close: {close}")
    print(f"{stream.timings.decode_tok_s:.0f} tokens a second")
