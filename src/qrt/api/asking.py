"""Options of a call beside those of its generation: what form its answer has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qrt.runtime.constraint import Grammar
from qrt.runtime.options import GenerateKeywords

ResponseFormat = Mapping[str, Any] | type[Any] | None
GrammarLike = str | Grammar | Mapping[str, Any] | None


class AnswerKeywords(GenerateKeywords, total=False):
    """The keywords of generate, stream, chat and stream_chat: those of a generation, and those of
    `AnswerOptions`, where they are explained."""

    response_format: ResponseFormat
    grammar: GrammarLike


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """The form of an answer; at most one of them is given. Both need the package llguidance.

    response_format: JSON that follows a schema: a class of pydantic or msgspec, a dataclass or
        another type that msgspec reads, a JSON schema as a dict, {"type": "json_schema",
        "json_schema": {"schema": ...}} or {"type": "json_object"}. `Completion.parsed` has what an
        answer says: an instance of the class, or plain values.
    grammar: text in GBNF, or in Lark if it begins with %llguidance {}; {"regex": "[a-z]+"}; or a
        `qrt.Grammar`.
    """

    response_format: ResponseFormat = None
    grammar: GrammarLike = None
