"""One answer on standard output, for `run` and `complete`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qrt.cli.arguments import is_terminal
from qrt.cli.output import AnswerWriter, note
from qrt.cli.timings import timings_line

if TYPE_CHECKING:
    from qrt.api import Stream


def print_answer(
    stream: Stream, n_ctx: int, timings: bool | None, recommended: str, *, closing_line: bool = True
) -> str:
    """Streams an answer, which it returns; then its timings on standard error, by default between
    terminals, with the sampling that the model recommended for it."""
    writer = AnswerWriter(sys.stdout, closing_line=closing_line)
    parts, finish = [], None
    try:
        with stream:
            for record in stream:
                parts.append(record.text)
                finish = record.finish_reason
                writer.write(record.text)
    finally:
        writer.end()
    if finish == "length" and stream.n_prompt_tokens + len(parts) >= n_ctx:
        note(
            sys.stderr, f"(cut short: the context of {n_ctx} tokens is full; -c N makes it larger)"
        )
    if timings is None:
        timings = is_terminal(sys.stdout) and is_terminal(sys.stderr)
    if timings and recommended:
        note(sys.stderr, f"sampling, as the model recommends: {recommended}")
    if timings:
        note(sys.stderr, timings_line(stream.timings))
    return "".join(parts)
