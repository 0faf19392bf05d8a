"""Grammars of one model: compiled when they are first asked for, and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qrt.runtime.constraint import Constraint, Grammar
from qrt.runtime.records import TokenRecord
from qrt.structure.compiling import Compiler
from qrt.structure.deferred import Deferral, Deferred, Thinking
from qrt.structure.forms import Form
from qrt.structure.matcher import Matcher
from qrt.structure.vocabulary import Vocabulary

if TYPE_CHECKING:
    from qrt.text import Tokenizer

N_KEPT: Final = 64


class Grammars:
    """Compiles grammars for one vocabulary, which is made when the first is, and keeps the last 64.

    Thread-safe. `tokenizer` gives the model's.
    """

    def __init__(self, tokenizer: Callable[[], Tokenizer]) -> None:
        self._tokenizer = tokenizer
        self._making = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._compiler = Compiler()
        self._keeping = threading.Lock()
        self._kept: OrderedDict[Grammar, Any] = OrderedDict()

    def constraint(self, grammar: Grammar) -> Constraint:
        """What holds an answer to `grammar`, at its start. Raises InputError and FullError."""
        vocabulary = self.vocabulary()
        with self._keeping:
            matcher = self._kept.get(grammar)
        if matcher is None:
            matcher = self._compiler.compiled(grammar, vocabulary)
        with self._keeping:
            self._kept[grammar] = matcher
            self._kept.move_to_end(grammar)
            while len(self._kept) > N_KEPT:
                self._kept.popitem(last=False)
        return Matcher(matcher.deep_copy(), vocabulary)

    def vocabulary(self) -> Vocabulary:
        """That of the model, made when it is first asked for. Raises InputError."""
        with self._making:
            if self._vocabulary is None:
                self._vocabulary = Vocabulary(self._tokenizer())
            return self._vocabulary


@dataclass(frozen=True)
class Held:
    """Holds answers to a form: the `constraint` of a generation.

    deferral: of a reply that may think before its answer.
    """

    grammars: Grammars
    form: Form
    deferral: Deferral | None = None

    def __call__(self) -> Constraint:
        constraint = self.grammars.constraint(self.form.grammar)
        if self.deferral is None:
            return constraint
        return Deferred(constraint, self.deferral, self.grammars.vocabulary())

    def answer(self, records: Iterable[TokenRecord]) -> str:
        """What the records of a reply say behind its thoughts."""
        if self.deferral is None:
            return "".join(record.text for record in records)
        thinking = Thinking(self.deferral, self.grammars.vocabulary().tokens.__getitem__)
        return "".join([record.text for record in records if not thinking.push(record.token)])
