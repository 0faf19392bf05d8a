"""What a reply consists of: thoughts, text and calls of tools, told from the stream by family.

Names are imported when they are first used: a command that shows no reply needs no tokenizer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qrt.replies.events import (
        CallArguments,
        CallBegun,
        CallEnded,
        Event,
        Text,
        Thought,
        merged,
    )
    from qrt.replies.grammar import call_grammar
    from qrt.replies.reader import Reader, plain_reader, reader_of
    from qrt.replies.stating import with_tools
    from qrt.replies.switches import template_vars
    from qrt.replies.tools import ToolChoice

_HOMES = {
    **dict.fromkeys(
        ("CallArguments", "CallBegun", "CallEnded", "Event", "Text", "Thought", "merged"), "events"
    ),
    **dict.fromkeys(("Reader", "plain_reader", "reader_of"), "reader"),
    "ToolChoice": "tools",
    "call_grammar": "grammar",
    "template_vars": "switches",
    "with_tools": "stating",
}

__all__ = [
    "CallArguments",
    "CallBegun",
    "CallEnded",
    "Event",
    "Reader",
    "Text",
    "Thought",
    "ToolChoice",
    "call_grammar",
    "merged",
    "plain_reader",
    "reader_of",
    "template_vars",
    "with_tools",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'qrt.replies' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"qrt.replies.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
