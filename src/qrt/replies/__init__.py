"""What a reply consists of, told from the stream of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qrt.replies.events import (
    CallArguments,
    CallBegun,
    CallEnded,
    Event,
    Text,
    Thought,
)
from qrt.runtime.records import TokenRecord
from qrt.text import Tokenizer

__all__ = [
    "CallArguments",
    "CallBegun",
    "CallEnded",
    "Event",
    "Reader",
    "Text",
    "Thought",
    "reader_of",
]


class Reader:
    """All of a reply is text."""

    def push(self, record: TokenRecord) -> list[Event]:
        """The events of a record."""
        return [Text(record.text)] if record.text else []

    def flush(self) -> list[Event]:
        """What was held back."""
        return []


def reader_of(
    _tokenizer: Tokenizer,
    _template_source: str,
    _prompt_tokens: Sequence[int],
    _tools: Sequence[Mapping[str, Any]],
) -> Reader:
    """What tells the parts of a reply apart."""
    return Reader()
