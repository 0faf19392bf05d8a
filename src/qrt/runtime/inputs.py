"""What is embedded or ranked: texts as token ids that fit the context, with what a model wants
before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from qrt.errors import ContextFullError, InputError
from qrt.runtime.checks import check_tokens

if TYPE_CHECKING:
    from qrt.text import Tokenizer

RANK_KEY: Final = "tokenizer.chat_template.rerank"
QWEN3_RANK: Final = """\
<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: Given a web search query, retrieve relevant passages that answer the query
<Query>: {query}
<Document>: {document}<|im_end|>
<|im_start|>assistant
<think>

</think>

"""
"""What Qwen3-Reranker was trained on."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text, or a pair of them, as a model takes it."""

    tokens: list[int]
    types: NDArray[np.int32] | None = None
    """(n_tokens,), of the tokens; None: all are of type 0."""
    scales: tuple[float, ...] | None = None
    """How much of each adapter is used; None: as the model says."""


_FIELD = re.compile(r"\{(query|document)\}")


class Inputs:
    """Makes token ids for one model; at most `n_ctx` of them each."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        n_ctx: int,
        n_types: int = 1,
    ) -> None:
        """n_types: those that the model knows of tokens."""
        self._tokenizer = tokenizer
        self._n_ctx = n_ctx
        self._second_type = min(tokenizer.second_type, n_types - 1)

    def of_text(
        self,
        text: str | Iterable[Any],
        name: str,
        *,
        truncate: bool,
        prompt: str = "",
        scales: tuple[float, ...] | None = None,
    ) -> Encoded:
        """The tokens of a text, or ids as they are, cut to the context where `truncate`.

        `name` is what messages call it, `prompt` stands before a string. Raises InputError and
        ContextFullError.
        """
        tokenizer, n_ctx = self._tokenizer, self._n_ctx
        if isinstance(text, str):
            if not truncate and len(text) > n_ctx:
                self._check(tokenizer.least_tokens(prompt + text), name, "at least ")
            ids = tokenizer.tokenize(prompt + text)
        else:
            ids = check_tokens(name, text, tokenizer.n_vocab, "a string or token ids")
        if not ids:
            raise InputError(f"{name} is empty; give at least one token")
        if len(ids) > n_ctx and truncate:
            is_ended = tokenizer.end_id is not None and ids[-1] == tokenizer.end_id
            ids = [*ids[: n_ctx - is_ended], *ids[len(ids) - is_ended :]]
        self._check(len(ids), name)
        return Encoded(ids, scales=scales)

    def of_pair(self, query: str, text: str, name: str, *, truncate: bool) -> Encoded:
        """The tokens of a query and a text that a head judges together; else as `of_text`."""
        before, body, end = self._tokenizer.pair_parts(query, text)
        over = len(before) + len(body) + len(end) - self._n_ctx
        if over > 0 and truncate and over < len(body):
            body = body[:-over]
        ids = [*before, *body, *end]
        self._check(len(ids), f"the query with {name}")
        if not self._second_type:
            return Encoded(ids)
        types = np.full(len(ids), self._second_type, np.int32)
        types[: len(before)] = 0
        return Encoded(ids, types)

    def of_template(
        self, template: str, query: str, text: str, name: str, *, truncate: bool
    ) -> Encoded:
        """The tokens of a template with `{query}` and `{document}`, in which the template alone can
        spell control tokens; else as `of_text`.
        """

        def filled(document: str) -> list[int]:
            values = {"query": query, "document": document}
            parts = _FIELD.split(template)  # text, field, text, ... text
            spans = [
                (values[part], False) if number % 2 else (part, True)
                for number, part in enumerate(parts)
            ]
            return self._tokenizer.tokenize_spans(spans, add_special=False)

        ids = filled(text)
        if len(ids) > self._n_ctx and truncate:
            ids = self._shortened(filled, text, ids)
        self._check(len(ids), f"the query with {name}")
        return Encoded(ids)

    def _shortened(
        self, filled: Callable[[str], list[int]], text: str, ids: Items[int]
    ) -> list[int]:
        """`filled` with as much of a text as fits, or nothing of it."""
        body = self._tokenizer.tokenize(text, add_special=False)
        n_kept = len(body)
        found = list(ids)
        while len(found) > self._n_ctx and n_kept > 0:
            n_kept = max(n_kept - (len(found) - self._n_ctx), 0)
            found = filled(self._tokenizer.detokenize(body[:n_kept]))
        return found

    def _check(self, n_tokens: int, name: str, at_least: str = "") -> None:
        if n_tokens > self._n_ctx:
            raise ContextFullError(
                f"{name} is too large: it has {at_least}{n_tokens} tokens, the context holds "
                f"{self._n_ctx}; shorten it, pass truncate=True, or load with a larger n_ctx"
            )
