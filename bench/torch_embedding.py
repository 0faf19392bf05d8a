"""transformers' BERT in float32 as something to measure: runs under an interpreter with torch.

Reads one JSON object a line, answers each by one: {"op": "load", "shape", "n_threads"}, keywords of
BertConfig, by {"version", "settings"}, sizes of batches as text; {"op": "embed", "texts",
"setting"}, lists of token ids of one length, by {"seconds"}: the mean of hidden states, normalized.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

sys.path.pop(0)  # transformers asks for a package named as a file that stands here

import torch
import transformers

SETTINGS = ("16", "32", "64")


def embed(model: Any, texts: list[list[int]], n_batch: int) -> float:
    """Seconds for the vectors of texts."""
    start = time.perf_counter()
    with torch.inference_mode():
        for at in range(0, len(texts), n_batch):
            ids = torch.tensor(texts[at : at + n_batch])
            hidden = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            torch.nn.functional.normalize(hidden.mean(dim=1)).numpy()
    return time.perf_counter() - start


def main() -> None:
    model: Any = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        if asked["op"] == "load":
            torch.set_num_threads(asked["n_threads"])
            config = transformers.BertConfig(**asked["shape"])
            model = transformers.BertModel(config, add_pooling_layer=False).eval()
            answer = {"version": torch.__version__, "settings": SETTINGS}
        else:
            answer = {"seconds": embed(model, asked["texts"], int(asked["setting"]))}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
