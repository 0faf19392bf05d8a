"""What the routes of OpenAI's API share: ids, usage, log probabilities, deltas."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from qrt import __version__
from qrt.replies import CallArguments, CallBegun, Event, Text, Thought
from qrt.runtime.records import TokenRecord
from qrt.server.answers import Answer
from qrt.server.errors import RefusedError
from qrt.server.timings import timings_of
from qrt.server.wholes import Whole
from qrt.text import Tokenizer

FINGERPRINT = f"qrt-{__version__}"
DONE = b"data: [DONE]\n\n"


class StreamOptions(msgspec.Struct, kw_only=True):
    """`stream_options`."""

    include_usage: bool | None = None


def new_id(prefix: str) -> str:
    """An id that no other response has."""
    return f"{prefix}{secrets.token_hex(12)}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def n_choices(n: int | None, most: int, name: str = "n") -> int:
    """How many answers are asked for. Raises RefusedError."""
    if n is None:
        return 1
    if not 1 <= n <= most:
        raise RefusedError(400, f"{name} must be between 1 and {most}, got {n}", param=name)
    return n


def usage_of(answers: Iterable[Answer]) -> dict[str, Any]:
    """Tokens of answers; a prompt that several answer counts once."""
    answers = list(answers)
    n_prompt = sum(len(answer.asked.tokens) for answer in answers if answer.index == 0)
    n_tokens = sum(answer.n_tokens for answer in answers)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_tokens,
        "total_tokens": n_prompt + n_tokens,
        "prompt_tokens_details": {"cached_tokens": answers[0].timings.n_cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": sum(answer.n_thought_tokens for answer in answers)
        },
    }


def ending(answers: Sequence[Answer]) -> dict[str, Any]:
    """`usage`, and the `timings` of llama-server."""
    return {"usage": usage_of(answers), "timings": timings_of(answers[0].timings)}


def message_of(done: Whole) -> dict[str, Any]:
    """A whole answer as a chat message."""
    message: dict[str, Any] = {"role": "assistant", "content": done.text}
    if done.thoughts:
        message["reasoning_content"] = done.thoughts
    if done.calls:
        message["content"] = done.text or None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in done.calls
        ]
    return message


def delta_of(event: Event) -> dict[str, Any] | None:
    """An event as the delta of a chunk, but for text; None: nothing is to be told of it."""
    if isinstance(event, Text):
        return {"content": event.text}
    if isinstance(event, Thought):
        return {"reasoning_content": event.text}
    if isinstance(event, CallBegun):
        function = {"name": event.name, "arguments": ""}
        call = {"index": event.index, "id": event.id, "type": "function", "function": function}
        return {"tool_calls": [call]}
    if isinstance(event, CallArguments):
        return {"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}
    return None


def token_logprobs(tokenizer: Tokenizer, records: Iterable[TokenRecord]) -> dict[str, Any]:
    """`logprobs` of a chat answer."""
    content = []
    for record in records:
        own = spelled_token(tokenizer, record.token, record.logprob)
        own["top_logprobs"] = [spelled_token(tokenizer, *top) for top in record.top_logprobs]
        content.append(own)
    return {"content": content, "refusal": None}


def spelled_token(tokenizer: Tokenizer, token: int, logprob: float) -> dict[str, Any]:
    """A token's text and bytes beside its log probability, which JSON has no infinity for."""
    spelled = tokenizer.token_bytes(token)
    return {
        "token": spelled.decode("utf-8", "replace"),
        "logprob": max(logprob, -9999.0),
        "bytes": list(spelled),
    }
