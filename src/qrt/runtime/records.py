"""What a generation gives: one small record per token, and its timings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

FinishReason = Literal["stop", "length"]
"""stop: an end token, a stop token or a stop string. length: max_tokens, the context is full, or
the time was up."""

TopLogprobs = tuple[tuple[int, float], ...]
"""Token ids and the natural logs of their probabilities, the likeliest first."""


class Plain:
    """A record that JSON can hold."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Its fields in plain containers, those of records within it too."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, slots=True)
class Timings(Plain):
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
class PromptProgress(Plain):
    """How far a prompt is computed."""

    n_tokens: int
    n_cached: int
    """Its tokens that were stored when it began."""
    n_done: int
    """Those that are computed or were stored."""
    seconds: float
    """What its steps took so far."""


@dataclass(frozen=True, slots=True)
class TokenRecord(Plain):
    """One sampled token.

    `text` may be empty: half a character and what may be the start of a stop string wait for the
    tokens that follow. The last record carries `finish_reason` and `timings`.
    """

    text: str
    token: int
    logprob: float
    """Natural log of its probability under the model's own logits, before any sampler step; with
    `sampled_logprobs` of that with which it was drawn, after all of them."""
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    top_logprobs: TopLogprobs = ()
    """The `logprobs` likeliest tokens by the same probabilities, if so many were asked for."""
    stop_string: str = ""
    """The stop string that ended the answer; empty where something else did, or nothing yet."""
