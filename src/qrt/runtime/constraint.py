"""What an answer must look like: a grammar as text, and its progress along one answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

GrammarKind = Literal["json_schema", "regex", "gbnf", "lark"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar as its author wrote it; `text` of kind "json_schema" is the schema as JSON."""

    kind: GrammarKind
    text: str
    has_thoughts: bool = False
    """Whether it says itself how a reply may think; else it is asked of the answer behind."""


class Constraint(Protocol):
    """How far one answer has come along its grammar, and what may follow."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow, so that the answer ends here."""

    def mask(self) -> NDArray[np.uint32]:
        """(ceil(n_vocab / 32),): bit i % 32 of word i // 32 says whether token i may come next;
        where the answer may end, the tokens that end it may."""

    def forced(self) -> list[int]:
        """The tokens that must come next, whatever is sampled; often none. Then the mask is what
        is asked for next, and may be computed meanwhile."""

    def accept(self, token: int) -> None:
        """Puts a token behind the answer. Raises QrtError for one that may not come next."""


ConstraintFactory = Callable[[], Constraint]
"""Makes a constraint that stands at the start of an answer."""
