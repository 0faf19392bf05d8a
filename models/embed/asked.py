"""Questions to train on: made of sentences of the documentation, and of the phrases of tasks.toml.

A sentence becomes a question by a template; some of its words are exchanged for others of the same
meaning, by words.toml, and some are left out.
"""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path

from passages import Passage

HERE = Path(__file__).parent
TASKS = HERE / "tasks.toml"
OTHER_WORD, LEFT_OUT, LONGEST_PHRASE = 0.45, 0.25, 4
MAX_WORDS = 24
WORD = re.compile(r"\w+|[^\w\s]")
TABLE = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))
VERBS, QUESTION_WORDS = (frozenset(TABLE[key].split()) for key in ("verbs", "question_words"))
TEMPLATES: dict[str, list[str]] = TABLE["asked"]


def tasks() -> list[tuple[str, str]]:
    """(phrase, name) of each phrase of tasks.toml."""
    table = tomllib.loads(TASKS.read_text(encoding="utf-8"))
    return [(p.strip(), name) for name, phrases in table.items() for p in phrases.split("|")]


def alike() -> dict[str, list[str]]:
    """The words and phrases that may stand for each word or phrase."""
    found: dict[str, set[str]] = {}
    for line in TABLE["same"].strip().splitlines():
        words = [word.strip() for word in line.split(",")]
        for word in words:
            found.setdefault(word, set()).update(w for w in words if w != word)
    return {word: sorted(others) for word, others in found.items()}


def lowered(text: str) -> str:
    """The text with a small first letter, unless its first word is spelled in capitals."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def clause(sentence: str) -> str:
    """A sentence without its end, its verb as one says it after "to"; long ones cut at a comma."""
    text = lowered(sentence.strip().rstrip(".!:"))
    first, _, rest = text.partition(" ")
    stem = first.removesuffix("s")
    if stem in VERBS and rest:
        text = f"{stem} {rest}"
    elif first.endswith("es") and first[:-2] in VERBS and rest:
        text = f"{first[:-2]} {rest}"
    text = re.sub(r"^return (true|True|whether|`?True`?)( if| when)? ", "check if ", text)
    if len(text.split()) > MAX_WORDS:
        text = " ".join(text.split()[:MAX_WORDS])
    return text


def as_question(rng: random.Random, phrase: str) -> str:
    """A phrase in the words of somebody who asks."""
    first = phrase.partition(" ")[0]
    kind = "question" if first in QUESTION_WORDS else "verb" if first in VERBS else "thing"
    return rng.choice(TEMPLATES[kind]).format(phrase)


class Asker:
    """Makes questions, new ones at each call."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.alike = alike()

    def reworded(
        self, text: str, other_word: float = OTHER_WORD, left_out: float = LEFT_OUT
    ) -> str:
        """Some words exchanged for others, some left out; the rest in their order."""
        words, out, at = WORD.findall(text), [], 0
        while at < len(words):
            n, others = self._others(words, at)
            if others and self.rng.random() < other_word:
                out.append(self.rng.choice(others))
            elif self.rng.random() >= left_out:
                out += words[at : at + n]
            at += n
        return " ".join(out)

    def _others(self, words: list[str], at: int) -> tuple[int, list[str]]:
        """The longest known phrase at a place: how many words, and what may stand for it."""
        for n in range(min(LONGEST_PHRASE, len(words) - at), 0, -1):
            found = self.alike.get(" ".join(words[at : at + n]).lower())
            if found:
                return n, found
        return 1, []

    def of_task(self, phrase: str) -> str:
        """A question from a phrase of tasks.toml."""
        if self.rng.random() < 0.7:
            phrase = self.reworded(phrase, 0.35, 0.15)
        return as_question(self.rng, phrase)

    def of_passage(self, passage: Passage) -> str:
        """A question from what is said of a name, or of the name itself."""
        kind = self.rng.random()
        if kind < 0.08:
            return self.rng.choice(TEMPLATES["name"]).format(passage.name)
        if kind < 0.14:
            words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", passage.name)
            return " ".join(words[-3:]).lower()
        sentence = passage.sentence
        if kind > 0.8:
            later = re.split(r"(?<=[.!?]) ", passage.body[len(sentence) :])[:-1]
            sentence = self.rng.choice(later) if later else sentence
        phrase = self.reworded(clause(sentence))
        if kind < 0.3:  # as one who knows the module
            phrase = f"{phrase} {passage.name.split('.')[0]}"
        return as_question(self.rng, phrase)
