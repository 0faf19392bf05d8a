"""Questions about facts, about made-up names and about everything else, and their answers."""

from __future__ import annotations

import functools
import pydoc
import random
import re
import tomllib
import zlib
from collections import Counter
from pathlib import Path

from facts import SUBMODULES, Fact

LISTS = tomllib.loads(Path(__file__).with_name("questions.toml").read_text())
REFUSAL = "I only know Python's standard library"
GENERAL_REFUSAL = f"{REFUSAL}: ask me about one of its modules, classes or functions by name."
SHORT_NAME_SHARE, PATTERN_SHARE, DECORATED_SHARE = 0.06, 0.4, 0.15
BLURRED_SHARE, BLURRED_WORDS = 0.3, 0.4
MADE_UP_PER_FACT, GENERAL_PER_FACT = 0.5, 0.1
N_FACTS, N_MADE_UP = 600, 200
# How made-up names are built, each as often as it stands here; training has more of the hard ones.
ASKED = "elsewhere " * 3 + "compound " * 3 + "misspelt library package bare"
TRAINED = (
    "elsewhere " * 4 + "compound " * 2 + "misspelt " * 3 + "library " * 2 + "package bare word"
)

Turn = tuple[str, str]


def written(rng: random.Random, name: str, called: bool) -> str:
    """A name the way people write it: plain, in backticks, with parentheses."""
    name += "()" if called and rng.random() < 0.25 else ""
    return f"`{name}`" if rng.random() < 0.25 else name


class Questions:
    """Makes the turns of one epoch; every made-up name belongs to training or to evaluation."""

    def __init__(self, facts: list[Fact], evaluation: bool = False) -> None:
        self.facts = facts
        self.evaluation = evaluation
        self.templates = LISTS["asked_in_evaluation" if evaluation else "asked"]
        self.names = {fact.name for fact in facts}
        tails = Counter(name.rpartition(".")[2] for name in self.names)
        self.tails = sorted(tails)
        self.unique = {tail for tail, n in tails.items() if n == 1 and len(tail) > 4}
        self.homes = sorted({name.rpartition(".")[0] for name in self.names} - {""})
        self.homes += sorted(SUBMODULES)
        words = {word for tail in tails for word in re.findall(r"[A-Za-z][a-z]+", tail)}
        self.words = sorted(word.lower() for word in words)
        prose = {word for fact in facts for word in re.findall(r"\b[a-z]+\b", fact.paragraph)}
        self.prose = sorted(prose - set(tails))
        self.kinds = (ASKED if evaluation else TRAINED).split()

    def about(self, rng: random.Random, fact: Fact) -> Turn:
        """A question about a fact in one of the phrasings."""
        name = fact.name
        tail = name.rpartition(".")[2]
        if not self.evaluation and tail in self.unique and rng.random() < SHORT_NAME_SHARE:
            name = tail
        return self.phrased(rng, written(rng, name, "(" in fact.signature)), fact.answer

    def phrased(self, rng: random.Random, name: str) -> str:
        """A question about a name; in training with something before or behind it at times."""
        if not self.evaluation and rng.random() < PATTERN_SHARE:
            pattern = rng.choice(LISTS["patterns"])
            ask = " ".join(rng.choice(part) for part in pattern)
        else:
            ask = rng.choice(self.templates)
        ask = self.blurred(rng, ask).format(name)
        if not self.evaluation and rng.random() < DECORATED_SHARE:
            opening, closing = rng.choice(LISTS["openings"]), rng.choice(LISTS["closings"])
            ask = rng.choice((opening + ask, ask.rstrip("?.") + closing, opening + ask + closing))
        return ask

    def blurred(self, rng: random.Random, ask: str) -> str:
        """At times, in training, some words of a question are others, so that its name counts."""
        if self.evaluation or rng.random() >= BLURRED_SHARE:
            return ask
        return " ".join(
            rng.choice(self.prose) if "{" not in word and rng.random() < BLURRED_WORDS else word
            for word in ask.split()
        )

    def made_up(self, rng: random.Random) -> Turn:
        """A question about a name that looks real and is not."""
        while True:
            name = self.invented(rng)
            mine = (zlib.crc32(name.encode()) % 8 == 0) == self.evaluation
            if mine and name not in self.names and not exists(name):
                break
        ask = self.phrased(rng, written(rng, name, called=True))
        return ask, f"{REFUSAL}, and I know no `{name}` in it."

    def invented(self, rng: random.Random) -> str:
        """A name built like the real ones."""
        kind = rng.choice(self.kinds)
        home, tail = rng.choice(self.homes), rng.choice(self.tails)
        if kind == "elsewhere":
            return f"{home}.{tail}"
        if kind == "compound":
            return f"{home}.{self.compound(rng)}"
        if kind == "misspelt":
            return misspelt(rng, rng.choice(self.facts).name)
        if kind == "library":
            library = rng.choice(LISTS["other_libraries"][self.evaluation :: 2])
            return rng.choice((library, f"{library}.{tail}", f"{library}.{self.compound(rng)}"))
        if kind == "package":
            return f"{rng.choice(self.words)}{rng.choice(self.words)}.{tail}"
        return rng.choice(self.prose) if kind == "word" else self.compound(rng)

    def compound(self, rng: random.Random) -> str:
        """Two or three words in the manner of a function, a class or a method."""
        words = rng.choices(self.words, k=rng.choice((2, 2, 2, 3)))
        style = rng.randrange(4)
        if style == 0:
            return "".join(word.title() for word in words)
        return "".join(words[:2]) if style == 1 else "_".join(words)

    def general(self, rng: random.Random) -> Turn:
        """A question that has nothing to do with the library; for training only."""
        kind, topic = rng.randrange(10), rng.choice(LISTS["topics"])
        if kind < 3:
            ask = self.blurred(rng, rng.choice(LISTS["single"]))
        elif kind < 6:
            ask = self.phrased(rng, topic)
        else:
            ask = self.blurred(rng, rng.choice(LISTS["templates"])).format(topic)
        if rng.random() < 0.25:
            ask = ask.lower().rstrip("?.")
        return ask, GENERAL_REFUSAL

    def epoch(self, seed: int) -> list[Turn]:
        """Every fact once and the share of refusals, shuffled; a function of the seed."""
        rng = random.Random(seed)
        turns = [self.about(rng, fact) for fact in self.facts]
        turns += [self.made_up(rng) for _ in range(int(MADE_UP_PER_FACT * len(self.facts)))]
        turns += [self.general(rng) for _ in range(int(GENERAL_PER_FACT * len(self.facts)))]
        rng.shuffle(turns)
        return turns


def evaluation(facts: list[Fact], seed: int) -> list[dict[str, str]]:
    """Questions of the three kinds that are in no epoch of training."""
    rng = random.Random(seed)
    questions = Questions(facts, evaluation=True)
    asked = []
    for fact in rng.sample(facts, N_FACTS):
        ask, _ = questions.about(rng, fact)
        asked.append({"kind": "fact", "question": ask, "sentence": fact.sentence})
    made_up = [questions.made_up(rng)[0] for _ in range(N_MADE_UP)]
    asked += [{"kind": "made_up", "question": ask} for ask in made_up]
    return asked + [{"kind": "general", "question": ask} for ask in LISTS["evaluation"]]


def misspelt(rng: random.Random, name: str) -> str:
    """A real name with one letter too few, too many or wrong, or a wrong ending."""
    at = rng.randrange(len(name))
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return rng.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + letter + name[at:],
            name[:at] + letter + name[at + 1 :],
            name + rng.choice(("s", "_all", "_from", "2", "x", "er", "_to", "_async", "_list")),
        )
    ).strip(".")


@functools.cache
def exists(name: str) -> bool:
    """Whether Python finds something under the name."""
    try:
        return pydoc.locate(name) is not None
    except Exception:
        return False
