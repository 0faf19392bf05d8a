"""Replies as records, over a vocabulary of characters and marks, for tests of what reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, pairwise

import numpy as np

from qrt.replies import CallArguments, CallBegun, CallEnded, Event, Text, Thought, reader_of
from qrt.runtime.records import TokenRecord
from qrt.text import Tokenizer, load_tokenizer
from qrt.text.decode import BYTE_OF_CHAR

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather somewhere.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "units": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "where": {"type": "object"},
                },
            },
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {}}},
]


def vocabulary(control: Sequence[str] = (), shown: Sequence[str] = ()) -> Tokenizer:
    """All bytes, with marks that are control tokens and marks that are tokens of the text."""
    tokens = [*BYTE_OF_CHAR, *shown, *control, "</s>"]
    kinds = [1] * 256 + [4] * len(shown) + [3] * (len(control) + 1)
    return load_tokenizer(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": np.array(kinds, np.int32),
            "tokenizer.ggml.merges": [],
            "tokenizer.ggml.eos_token_id": len(tokens) - 1,
        },
        "test",
    )


def records_of(tokenizer: Tokenizer, reply: str, *, special: bool = True) -> list[TokenRecord]:
    """A record for each token of a reply; marks in it are tokens if `special`."""
    tokens = tokenizer.tokenize(reply, add_special=False, parse_special=special)
    decoder = tokenizer.stream()
    return [TokenRecord(decoder.push(token), token, 0.0) for token in tokens]


def cut(text: str, places: Iterable[int]) -> list[TokenRecord]:
    """Text cut at places, as records of a vocabulary without marks."""
    ends = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [TokenRecord(text[a:b], 0, 0.0) for a, b in pairwise(ends)]


def told(
    tokenizer: Tokenizer,
    template: str,
    records: Iterable[TokenRecord],
    prompt: Sequence[int] = (),
    tools: Sequence[Mapping[str, object]] = TOOLS,
) -> list[Event]:
    """All events of a reply, put together; ids are 0, 1 ..."""
    from qrt.replies import merged

    ids = map(str, count())
    reader = reader_of(tokenizer, template, prompt, tools, lambda: next(ids))
    events = [event for record in records for event in reader.push(record)]
    return merged([*events, *reader.flush()])


def summary(events: Iterable[Event]) -> list[tuple[str, ...]]:
    """(kind, what) of each event; a call is one entry with its arguments."""
    out: list[tuple[str, ...]] = []
    for event in events:
        match event:
            case Text(text):
                out.append(("text", text))
            case Thought(text):
                out.append(("thought", text))
            case CallBegun(_, id_, name):
                out.append(("call", name, "", id_))
            case CallArguments(_, text):
                kind, name, before, id_ = out[-1]
                out[-1] = (kind, name, before + text, id_)
            case CallEnded(_, is_complete):
                kind, name, arguments, id_ = out[-1]
                kind = kind if is_complete else "cut"
                out[-1] = (kind, name, re.sub(r"\s+", " ", arguments), id_)
    return out
