"""The tokens that benches feed to every side."""

from __future__ import annotations

import random


def token_ids(n_tokens: int, n_vocab: int) -> list[int]:
    """The same random tokens each time; a longer list starts like a shorter one."""
    rng = random.Random(0)
    return [rng.randrange(n_vocab) for _ in range(n_tokens)]
