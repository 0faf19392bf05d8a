"""The passages: every documented name of the running Python's library, and what is said of it."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "pydoc"))
from facts import Fact, facts

HERE = Path(__file__).parent
MAX_CHARS = 400
QUESTIONS = HERE / "questions.toml"


@dataclass(frozen=True)
class Passage:
    """A name, its first sentence, and the text that is searched."""

    name: str
    signature: str
    sentence: str
    body: str

    @property
    def text(self) -> str:
        """What the model reads of it."""
        return f"{self.signature}: {self.body}"


def passage(fact: Fact) -> Passage:
    """The documentation from its first sentence on, without signatures before it, at most
    MAX_CHARS of it."""
    doc = " ".join(fact.doc.split())
    at = doc.find(fact.sentence)
    body = fact.sentence if at < 0 else doc[at : at + MAX_CHARS]
    return Passage(fact.name, fact.signature, fact.sentence, body)


def passages() -> list[Passage]:
    """All, in alphabetical order of the names."""
    return [passage(fact) for fact in facts()]


def questions(names: set[str]) -> dict[str, set[str]]:
    """The questions that some of these names answer, with those names."""
    table = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))
    asked = {q: {a} if isinstance(a, str) else set(a) for q, a in table.items()}
    return {q: answers & names for q, answers in asked.items() if answers & names}
