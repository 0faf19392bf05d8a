"""A model that says one reply whatever it is asked: a thought, a text and a call of a tool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from served import NAME, Served, served

import qrt
from qrt.server.models import OneModel

TEMPLATE = """\
{%- if tools %}{{ tools | tojson }}<tool_call>{% endif -%}
{%- for m in messages %}{{ m.role }}: {{ m.content }}
{% for c in m.tool_calls %}{{ c.function.arguments.at }}{% endfor %}{% endfor %}"""
REPLY = (
    '<think>Hm.</think>I look.<tool_call>{"name": "look", "arguments": {"at": "ä\\n"}}</tool_call>'
)


class Said:
    """Lets a model say a text, then end, or go on as it likes."""

    def __init__(self, model: qrt.Model, said: str, *, ends: bool = True) -> None:
        tokens = model.tokenize(said, add_special=False)
        self._tokens = [*tokens, *([next(iter(model.tokenizer.eog_ids))] if ends else [])]
        self._n_prompt = 0
        self._before: list[int] = []

    def __call__(self, ids: list[int], logits: Any) -> Any:
        if not self._before or ids[: len(self._before)] != self._before:
            self._n_prompt = len(ids)
        self._before = list(ids)
        n_said = len(ids) - self._n_prompt
        if n_said >= len(self._tokens):
            return logits
        wanted = self._tokens[n_said]
        logits[:] = -np.inf
        logits[wanted] = 0
        return logits


@contextmanager
def calling() -> Iterator[Served]:
    """A server of it."""
    with qrt.load(chat_template=TEMPLATE) as model:
        options = {"logits_processors": [Said(model, REPLY)]}
        with served(models=OneModel(NAME, model, options=options)) as one:
            yield one
