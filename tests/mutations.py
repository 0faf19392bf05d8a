"""Request bodies that are nearly right, made from right ones; what no reply to them may say."""

from __future__ import annotations

import copy
import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": [{"type": "text", "text": "What does len do?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "nothing"},
    {"role": "user", "content": "Go on."},
]
_TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
_SAMPLING: dict[str, Any] = {
    "temperature": 0.5,
    "top_k": 5,
    "top_p": 0.9,
    "seed": 3,
    "stop": ["x"],
    "logit_bias": {"5": 1.0},
    "mirostat": 0,
    "samplers": ["top_k", "temperature"],
    "dry_sequence_breakers": ["a"],
    "n_keep": 0,
}
RIGHT: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": _MESSAGES,
        "tools": _TOOLS,
        "tool_choice": "auto",
        "max_tokens": 2,
        "n": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "stream": False,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
        "response_format": {"type": "text"},
        **_SAMPLING,
    },
    "/v1/completions": {
        "prompt": ["def f(", [5, 6, 7]],
        "max_tokens": 2,
        "n": 1,
        "best_of": 1,
        "logprobs": 1,
        "echo": True,
        **_SAMPLING,
    },
    "/v1/responses": {
        "input": [{"type": "message", "role": "user", "content": "What does len do?"}],
        "instructions": "Be short.",
        "max_output_tokens": 2,
        "tools": [{"type": "function", "name": "look", "parameters": {}}],
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}},
        "stream": True,
    },
    "/v1/embeddings": {"input": "x", "model": "m"},
    "/v1/messages": {
        "model": "m",
        "max_tokens": 2,
        "system": "Be short.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "stop_sequences": ["x"],
        "stream": True,
    },
    "/v1/messages/count_tokens": {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
    },
    "/api/chat": {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "options": {"num_predict": 2, "temperature": 0.5, "stop": ["x"]},
        "stream": True,
    },
    "/api/generate": {"model": "m", "prompt": "def", "options": {"num_predict": 2}},
    "/completion": {"prompt": "def", "n_predict": 2, "n_probs": 1, **_SAMPLING},
    "/infill": {
        "input_prefix": "def f(",
        "input_suffix": "return",
        "input_extra": [{"filename": "a", "text": "b"}],
        "n_predict": 2,
    },
    "/tokenize": {"content": "hello", "add_special": True, "with_pieces": True},
    "/detokenize": {"tokens": [5, 6]},
    "/apply-template": {"messages": [{"role": "user", "content": "hello"}]},
    "/api/show": {"model": "m", "verbose": True},
    "/models/unload": {"model": "m"},
}
"""Bodies by path."""

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, 5e-324),
    *(2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, 2**64, -(2**63), 2**200),
    *("", " ", "x", "-1", "\x00", "\n", "é", "😀", "<|im_end|>", "../../etc/passwd", "x" * 5000),
    *([], {}, [[]], [None], [{}], {"": None}, {"type": "x"}, [1] * 600, ["x"] * 100),
    *({"a": {"b": {"c": [1, 2, {"d": None}]}}}, [True], [1.5], ["\x00"]),
)
_RAW: tuple[bytes, ...] = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"9" * 5000, b"-" + b"9" * 5000, b"0" * 400),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\x00"', b'"\\u0000"'),
    *(b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"[" * 100_000, b"", b"'"),
    *(b"tru", b"\xef\xbb\xbf1", b'{"a":1,"a":2}', b"1.", b".5", b"+1", b"0x10", b"1_0", b"/**/1"),
)
_MARK = "@@MARK@@"

_KNOWN = (
    sys.prefix,
    sys.base_prefix,
    tempfile.gettempdir(),
    Path.home(),
    Path.cwd(),
    Path(__file__),
)
_FOLDERS = {"usr", "root", "home", "tmp"}.union(*(Path(known).parts[1:2] for known in _KNOWN))
"""The first folders of paths that a process knows of, here and on other machines."""

LEAKS = re.compile(
    rb"0x[0-9a-f]{6,}|File \"|Traceback|site-packages|/(?:%s)/"
    % "|".join(map(re.escape, sorted(_FOLDERS))).encode()
)
"""What is of the process and no reply may hold."""


def bodies(seed: int, fields: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, bytes]]:
    """Paths and bodies without end; `fields` are all that a path's bodies may have."""
    rng = random.Random(seed)
    paths = [path for path in RIGHT if path in fields]
    while True:
        path = rng.choice(paths)
        body = copy.deepcopy(RIGHT[path])
        raw = [_mutate(rng, body, fields[path]) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        data = json.dumps(body).encode()
        for value in raw:
            if value is not None:
                data = data.replace(json.dumps(_MARK).encode(), value, 1)
        if rng.random() < 0.1:
            data = _damaged(rng, data)
        yield path, data


def _mutate(rng: random.Random, body: Any, fields: tuple[str, ...]) -> bytes | None:
    """Changes one place in a body; bytes that are to stand there instead of `_MARK`."""
    places = list(_places(body))
    raw = rng.choice(_RAW) if rng.random() < 0.25 else None
    value = _MARK if raw is not None else copy.deepcopy(rng.choice(_VALUES))
    if not places or rng.random() < 0.3:
        body[rng.choice(fields)] = value
        return raw
    holder, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.1:
        del holder[key]
        return None
    holder[key] = [holder[key]] if kind < 0.2 else value
    return raw


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _damaged(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + rng.choice(_RAW) + data[at:]
    return data[:at] + data[:at]
