"""`LlamaGrammar` as llama-cpp-python has it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qrt.errors import InputError
from qrt.runtime.checks import shown
from qrt.runtime.constraint import Grammar


@dataclass(frozen=True)
class LlamaGrammar:
    """What an answer must look like; `grammar` of a completion takes it."""

    grammar: Grammar

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> Self:
        """Of a text in GBNF."""
        return cls(Grammar("gbnf", grammar))

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], verbose: bool = True) -> Self:
        """Of a file in GBNF. Raises OSError."""
        return cls.from_string(Path(file).read_text(encoding="utf-8"))

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> Self:
        """Of the text of a JSON schema. Raises ValueError for what is no JSON."""
        json.loads(json_schema)
        return cls(Grammar("json_schema", json_schema))


def grammar_of(given: Any) -> Grammar | None:
    """What the argument `grammar` stands for. Raises InputError."""
    if given is None or isinstance(given, LlamaGrammar):
        return None if given is None else given.grammar
    raise InputError(f"grammar must be a LlamaGrammar, got {shown(given)}")
