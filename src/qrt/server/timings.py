"""The times of an answer as llama-server tells them."""

from __future__ import annotations

from typing import Any

from qrt.runtime.records import PromptProgress, Timings


def progress_of(progress: PromptProgress) -> dict[str, Any]:
    """The `prompt_progress` of llama-server."""
    return {
        "total": progress.n_tokens,
        "cache": progress.n_cached,
        "processed": progress.n_done,
        "time_ms": round(progress.seconds * 1000),
    }


def timings_of(timings: Timings) -> dict[str, Any]:
    """The `timings` of llama-server."""
    n_prompt = timings.n_prompt_tokens - timings.n_cached_tokens
    n_after_first = timings.n_tokens - 1
    prompt_s = n_prompt / timings.prefill_tok_s if timings.prefill_tok_s else 0.0
    decode_s = n_after_first / timings.decode_tok_s if timings.decode_tok_s else 0.0
    return {
        "cache_n": timings.n_cached_tokens,
        "prompt_n": n_prompt,
        "prompt_ms": prompt_s * 1000,
        "prompt_per_token_ms": prompt_s * 1000 / n_prompt if n_prompt else 0.0,
        "prompt_per_second": timings.prefill_tok_s,
        "predicted_n": timings.n_tokens,
        "predicted_ms": decode_s * 1000,
        "predicted_per_token_ms": decode_s * 1000 / n_after_first if n_after_first > 0 else 0.0,
        "predicted_per_second": timings.decode_tok_s,
    }
