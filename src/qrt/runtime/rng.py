"""Counter-based random numbers: a draw depends on seed, position and stream, on nothing before it.

Philox-4x32 with 10 rounds, from Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC
2011). The key is the seed, the counter is (position, stream), so the draw for a position is the
same whatever else the process has drawn, in whatever order.
"""

from __future__ import annotations

import os
from typing import Final

MAX_SEED: Final = 2**64 - 1

TOKEN_STREAM: Final = 0
XTC_STREAM: Final = 1

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """One block of Philox-4x32-10: four 32-bit words of counter in, four random words out."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        low = _MULTIPLIERS[0] * c0
        high = _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (high >> 32) ^ c1 ^ k0,
            high & _MASK,
            (low >> 32) ^ c3 ^ k1,
            low & _MASK,
        )
        k0 = (k0 + _KEY_STEPS[0]) & _MASK
        k1 = (k1 + _KEY_STEPS[1]) & _MASK
    return c0, c1, c2, c3


def uniform(seed: int, position: int, stream: int) -> float:
    """The draw for `position`, in [0, 1) with 53 random bits. `seed` and `position` are 64-bit."""
    words = philox(
        (position & _MASK, position >> 32, stream, 0),
        (seed & _MASK, seed >> 32),
    )
    return ((words[0] << 21) | (words[1] >> 11)) * 2.0**-53


def fresh_seed() -> int:
    """A 32-bit seed from the operating system, for requests that name none."""
    return int.from_bytes(os.urandom(4), "little")
