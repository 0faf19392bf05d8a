"""One answer on standard output, for `run` and `complete`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qrt.cli.output import AnswerWriter, Shown, note
from qrt.cli.timings import timings_line

if TYPE_CHECKING:
    from qrt.api import Stream
    from qrt.replies import Reader


def print_answer(
    stream: Stream,
    n_ctx: int,
    shown: Shown,
    recommended: str,
    *,
    reader: Reader | None = None,
    closing_line: bool = True,
) -> str:
    """Streams an answer, which it returns; with its timings, if they are shown, comes the sampling
    that the model recommended for it."""
    writer = AnswerWriter(sys.stdout, reader, shown, closing_line=closing_line)
    n_tokens, finish = 0, None
    try:
        with stream:
            for record in stream:
                n_tokens, finish = n_tokens + 1, record.finish_reason
                writer.write(record.text, record.token)
    finally:
        writer.end()
    if finish == "length" and stream.n_prompt_tokens + n_tokens >= n_ctx:
        note(
            sys.stderr, f"(cut short: the context of {n_ctx} tokens is full; -c N makes it larger)"
        )
    if shown.timings:
        if recommended:
            note(sys.stderr, f"sampling, as the model recommends: {recommended}")
        note(sys.stderr, timings_line(stream.timings))
    return writer.answer
