"""What a chat says of the model inside qrt, which knows one thing well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qrt.api import TokenRecord

ABOUT: Final = (
    "This is the small model inside qrt: it knows Python's standard library and nothing else.\n"
    "A bigger one: `qrt pull qwen3:4b`, then `qrt run qwen3:4b`; or `qrt run FILE.gguf`."
)
UNSURE: Final = (
    "(the small model is not sure of this; a general one: `qrt pull qwen3:4b`, then /load qwen3:4b)"
)

_REFUSAL: Final = "I only know Python's standard library"
_SURE: Final = 0.9
"""Geometric mean of the tokens' probabilities; what it has learnt, it says with 0.99 and more."""


def is_unsure(records: Sequence[TokenRecord]) -> bool:
    """Whether an answer says that it knows nothing of this, or was made of unlikely tokens."""
    if "".join(record.text for record in records).lstrip().startswith(_REFUSAL):
        return True
    mean = sum(record.logprob for record in records) / max(len(records), 1)
    return mean < math.log(_SURE)
