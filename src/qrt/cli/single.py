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
    stream: Stream, timings: bool | None, recommended: str, *, closing_line: bool = True
) -> None:
    """Streams an answer; then its timings on standard error, by default between terminals, with
    the sampling that the model recommended for it."""
    writer = AnswerWriter(sys.stdout, closing_line=closing_line)
    try:
        with stream:
            for record in stream:
                writer.write(record.text)
    finally:
        writer.end()
    if timings is None:
        timings = is_terminal(sys.stdout) and is_terminal(sys.stderr)
    if timings and recommended:
        note(sys.stderr, f"sampling, as the model recommends: {recommended}")
    if timings:
        note(sys.stderr, timings_line(stream.timings))
