"""Make the training data: facts as dialogues, library source and documentation as text."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import io
import json
import random
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sentencepiece
from facts import SKIPPED, Fact, facts, held_out
from questions import Questions, Turn, evaluation

N_VOCAB = 4096
USER, ASSISTANT = "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CHAT_ROW, TEXT_ROW = 128, 512  # tokens of a training row
OPEN_ROWS = 32
LONG_CHAT_SHARE = 0.25  # of the rows of TEXT_ROW tokens
EPOCHS = 92


def split(every: list[Fact]) -> tuple[list[Fact], list[Fact]]:
    """The facts to train and those kept for validation; equal prose stays on one side."""
    kept = [fact for fact in every if held_out(fact.name)]
    prose = {fact.doc for fact in kept} | {fact.paragraph for fact in kept}
    trained = [fact for fact in every if fact.doc not in prose and fact.paragraph not in prose]
    return trained, kept


def source_files() -> Iterator[tuple[str, str]]:
    """(module name, source) of the library's public modules and what they are made of."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = (SKIPPED | {"site-packages", "dist-packages", "tests"}) - {"tkinter", "turtle"}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if skipped.isdisjoint(parts) and not parts[0].startswith(("config-", "_sysconfigdata")):
            text = path.read_text(encoding="utf-8", errors="ignore")
            yield ".".join(parts).removesuffix(".__init__"), text.expandtabs()


def without_docstrings(source: str, docs: set[str]) -> str:
    """The source with the given docstrings cut out."""
    lines = source.splitlines(keepends=True)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and ast.get_docstring(node) in docs:
            string = node.body[0]
            lines[string.lineno - 1 : string.end_lineno] = [""] * (
                string.end_lineno - string.lineno + 1
            )
    return "".join(lines)


def prose(fact: Fact) -> str:
    """A name and the whole of its documentation, as plain text."""
    return f"{fact.signature}\n\n{fact.doc}\n"


def train_vocabulary(texts: Iterable[str]) -> bytes:
    """A sentencepiece BPE model with byte fallback that keeps white space as it is."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=N_VOCAB,
        control_symbols=[USER, ASSISTANT],
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        max_sentence_length=1 << 20,
        num_threads=1,
        minloglevel=1,
    )
    return model.getvalue()


class Encoder:
    """Turns dialogues and texts into rows of tokens."""

    def __init__(self, vocabulary: bytes) -> None:
        self.pieces = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
        self.bos, self.eos = self.pieces.bos_id(), self.pieces.eos_id()
        self.user, self.assistant = (self.pieces.piece_to_id(c) for c in (USER, ASSISTANT))

    def turns(self, turns: list[Turn]) -> list[list[int]]:
        """<|user|> question <|assistant|> answer </s>, for each."""
        asks, answers = (self.pieces.encode([turn[i] for turn in turns]) for i in (0, 1))
        return [
            [self.user, *ask, self.assistant, *answer, self.eos]
            for ask, answer in zip(asks, answers, strict=True)
        ]

    def conversations(self, turns: list[list[int]], n_tokens: int) -> list[list[int]]:
        """Rows that begin with <s> and hold as many whole turns as fit, then </s> to the end."""
        rows, done = [[self.bos] for _ in range(OPEN_ROWS)], []
        for turn in turns:
            row = next((row for row in rows if len(row) + len(turn) <= n_tokens), None)
            if row is None:
                done.append(rows.pop(0))
                rows.append(row := [self.bos])
            if len(turn) < n_tokens:
                row += turn
        return [row + [self.eos] * (n_tokens - len(row)) for row in [*done, *rows]]

    def windows(self, rng: random.Random, texts: list[str], n_tokens: int) -> list[list[int]]:
        """Shuffled texts one behind the other, each from <s> to </s>, cut into rows."""
        rng.shuffle(texts)
        ids = [i for t in self.pieces.encode(texts) for i in (self.bos, *t, self.eos)]
        return [ids[at : at + n_tokens] for at in range(0, len(ids) - n_tokens, n_tokens)]


def write_lines(path: Path, items: Iterable[dict[str, str]]) -> None:
    """One line of JSON for each."""
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the vocabulary and the tokens go")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="times that a fact is asked")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)

    trained, kept = split(facts())
    docs = {fact.doc for fact in kept}
    sources = [f"# {name}\n{without_docstrings(s, docs)}" for name, s in source_files()]
    texts = sources + [prose(fact) for fact in trained] * 2
    questions = Questions(trained)
    vocabulary = args.folder / "vocab.model"
    if not vocabulary.exists():  # else a checkpoint may depend on it
        sample = [part for turn in questions.epoch(args.seed) for part in turn]
        sample += [fact.answer for fact in trained] * 2
        vocabulary.write_bytes(train_vocabulary(sample + rng.sample(sources, 60)))
    encoder = Encoder(vocabulary.read_bytes())

    rows = []
    for epoch in range(args.epochs):
        turns = encoder.turns(questions.epoch(args.seed + 1 + epoch))
        rows += encoder.conversations(turns, CHAT_ROW + 1)
    np.array(rows, np.uint16).tofile(args.folder / "chat.bin")
    print(f"{args.epochs} x {len(turns):,} turns in {len(rows):,} rows of {CHAT_ROW}")
    rows = encoder.windows(rng, texts, TEXT_ROW + 1)
    n_chat, talk = int(len(rows) * LONG_CHAT_SHARE / (1 - LONG_CHAT_SHARE)), []
    while len(talk) < n_chat:
        turns = encoder.turns(questions.epoch(rng.randrange(1 << 30)))
        talk += encoder.conversations(turns, TEXT_ROW + 1)
    rows = rng.sample(rows + talk[:n_chat], len(rows) + n_chat)
    np.array(rows, np.uint16).tofile(args.folder / "text.bin")
    print(f"{len(rows):,} rows of {TEXT_ROW}")

    (args.folder / "valid.txt").write_text("\n\n".join(prose(fact) for fact in kept))
    write_lines(args.folder / "facts.jsonl", map(dataclasses.asdict, trained))
    write_lines(args.folder / "evaluation.jsonl", evaluation(trained, args.seed))
    print(f"{len(trained):,} facts to train, {len(kept)} held out")


if __name__ == "__main__":
    main()
