"""A processor that forbids tokens, and a criterion that ends the answer.

Run it with python examples/processor.py [MODEL.gguf].
"""

import sys

import numpy as np
from numpy.typing import NDArray

import qrt

with qrt.load(*sys.argv[1:]) as model:
    digits = [i for i in range(model.info.n_vocab) if any(map(str.isdigit, model.detokenize([i])))]

    def without_digits(_ids: list[int], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (n_vocab,) in which no token has a digit."""
        logits[digits] = -np.inf
        return logits

    def has_two_lines(_ids: list[int], text: str) -> bool:
        """Whether the answer has two lines."""
        return text.count("\n") >= 2

    for processors in ([], [without_digits]):
        answer = model.generate(
            "version = 3.",
            max_tokens=60,
            temperature=0,
            logits_processors=processors,
            stopping=[has_two_lines],
        )
        print(repr(answer.text), answer.finish_reason)
