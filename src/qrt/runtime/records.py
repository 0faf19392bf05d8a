"""What a generation gives: one small record per token, and its timings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]
"""stop: an end token, a stop token or a stop string. length: max_tokens or the context is full."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a generation took; a rate that nothing was measured for is 0."""

    n_prompt_tokens: int
    n_cached_tokens: int
    """Prompt tokens whose keys and values were still there from an earlier turn."""
    n_tokens: int
    """Tokens sampled."""
    ttft_s: float
    """From the start of the generation to the first token."""
    prefill_tok_s: float
    """Prompt tokens computed a second."""
    decode_tok_s: float
    """Tokens a second after the first, without the time the caller took between them."""
    gb_s: float
    """Weight bytes read a second while decoding, in 1e9."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One sampled token.

    `text` may be empty: half a character and what may be the start of a stop string wait for the
    tokens that follow. The last record carries `finish_reason` and `timings`.
    """

    text: str
    token: int
    logprob: float
    """Natural log of its probability under the model's own logits, before any sampler step."""
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
