"""The line that tells how fast an answer came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qrt.api import Timings


def timings_line(timings: Timings) -> str:
    """Time to the first token, then the speed of the prompt and of the answer."""
    n_computed = timings.n_prompt_tokens - timings.n_cached_tokens
    return (
        f"first token {timings.ttft_s:.2f} s | prompt {n_computed} tokens, "
        f"{timings.prefill_tok_s:.1f} tok/s | answer {timings.n_tokens} tokens, "
        f"{timings.decode_tok_s:.1f} tok/s, {timings.gb_s:.1f} GB/s"
    )
