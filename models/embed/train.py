"""Train the embedding model: first its table of tokens, then what its layers add."""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from asked import Asker, tasks
from model import N_HIDDEN, Bert, Config
from passages import Passage, passages
from start import embedding, near
from text import own_phrases, texts
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from vocabulary import CLS, PAD, SEP, tokenizer, vocabulary

QUESTION_TOKENS, PASSAGE_TOKENS = 32, 72
TEXT_WEIGHT, PASSAGE_WEIGHT, PHRASE_WEIGHT = 1, 20, 40
SCALE = 40.0
BATCH, N_PASSAGES, TASK_SHARE = 384, 2048, 0.4
DEEP_BATCH, N_HARD, AMONG, RANK_EVERY = 96, 1, 8, 100
LR, DEEP_LR, WARMUP, BETAS = 3e-3, 1e-3, 40, (0.9, 0.98)
MASKED = 0.1
LOG_EVERY, AT_ONCE = 25, 256


def kept_for_tests(name: str) -> bool:
    """Whether `--validate` keeps the phrases of a name out of training: those of one in four."""
    return zlib.crc32(name.encode()) % 4 == 0


class Texts:
    """Token ids of texts."""

    def __init__(self, vocab: list[str]) -> None:
        by_piece = {piece: i for i, piece in enumerate(vocab)}
        self.short: Tokenizer = tokenizer(by_piece, QUESTION_TOKENS)
        self.long: Tokenizer = tokenizer(by_piece, PASSAGE_TOKENS)

    @staticmethod
    def batch(made: Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and which are tokens, both (n, n_tokens)."""
        found = made.encode_batch(texts)
        ids = torch.tensor([one.ids for one in found])
        return ids, torch.tensor([one.attention_mask for one in found], dtype=torch.float32)


class Data:
    """Questions and the passages that answer them."""

    def __init__(self, found: list[Passage], texts: Texts, seed: int, validate: bool) -> None:
        self.passages, self.texts, self.rng = found, texts, random.Random(seed)
        self.asker = Asker(self.rng)
        number = {one.name: i for i, one in enumerate(found)}
        known = [(phrase, number[name]) for phrase, name in tasks() if name in number]
        self.kept = [t for t in known if validate and kept_for_tests(found[t[1]].name)]
        self.tasks = [task for task in known if task not in self.kept]
        self.ids, self.are = texts.batch(texts.long, [one.text for one in found])
        said: dict[str, list[int]] = {}
        for i, one in enumerate(found):
            said.setdefault(one.sentence, []).append(i)
        self.twins = [said[one.sentence] for one in found]

    def questions(self, n: int) -> tuple[Tensor, Tensor, list[int]]:
        """`n` questions as tokens, and the numbers of their passages."""
        asked, numbers = [], []
        for _ in range(n):
            if self.rng.random() < TASK_SHARE:
                phrase, number = self.rng.choice(self.tasks)
                asked.append(self.asker.of_task(phrase))
            else:
                number = self.rng.randrange(len(self.passages))
                asked.append(self.asker.of_passage(self.passages[number]))
            numbers.append(number)
        return *self.texts.batch(self.texts.short, asked), numbers

    def masked(self, kept: Tensor) -> Tensor:
        """Some tokens of the texts taken out of the mean."""
        return kept * (torch.rand(kept.shape) >= MASKED)

    @staticmethod
    def columns(numbers: list[int], others: list[int]) -> list[int]:
        """The passages of questions, and others, each once."""
        return list(dict.fromkeys(numbers + others))

    def loss(self, cosines: Tensor, numbers: list[int], columns: list[int]) -> Tensor:
        """Cross entropy of cosines (n, columns); a passage that says the same as the right one is
        not counted as wrong."""
        at = {number: column for column, number in enumerate(columns)}
        scores = SCALE * cosines
        for row, number in enumerate(numbers):
            for twin in self.twins[number]:
                if twin != number and twin in at:
                    scores[row, at[twin]] = -torch.inf
        return functional.cross_entropy(scores, torch.tensor([at[n] for n in numbers]))


class Watch:
    """Tells how a run goes."""

    def __init__(self, what: str, steps: int) -> None:
        self.what, self.steps, self.began = what, steps, time.monotonic()
        self.losses: list[float] = []

    def saw(self, step: int, loss: float) -> None:
        """The loss of a step; a line every LOG_EVERY."""
        self.losses.append(loss)
        if len(self.losses) == LOG_EVERY:
            left = (time.monotonic() - self.began) / (step + 1) * (self.steps - step - 1) / 60
            mean = np.mean(self.losses)
            print(f"{self.what} {step + 1}: loss {mean:.3f}, {left:.1f} min left", flush=True)
            self.losses = []


def vectors(model: Bert, data: Data) -> Tensor:
    """Of all passages (n, dim), without gradients."""
    with torch.no_grad():
        at = range(0, len(data.ids), AT_ONCE)
        return torch.cat([model(data.ids[i : i + AT_ONCE], data.are[i : i + AT_ONCE]) for i in at])


def recall(model: Bert, data: Data, questions: list[str], right: list[set[int]]) -> list[float]:
    """Shares of the questions that have a right passage among the first 1, 5 and 10."""
    every = vectors(model, data)
    with torch.no_grad():
        asked = model(*data.texts.batch(data.texts.short, questions))
    best = (asked @ every.T).topk(10).indices.tolist()
    hits = [[number in ok for number in row] for row, ok in zip(best, right, strict=True)]
    return [float(np.mean([any(row[:k]) for row in hits])) for k in (1, 5, 10)]


def scheduled(optimizer: torch.optim.Optimizer, step: int, steps: int, lr: float) -> None:
    """One step: warm-up, then along a half cosine to nearly nothing."""
    share = min(1.0, (step + 1) / WARMUP) * (0.02 + 0.98 * (1 + np.cos(np.pi * step / steps)) / 2)
    for group in optimizer.param_groups:
        group["lr"] = lr * share
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def shallow(model: Bert, data: Data, steps: int) -> None:
    """The table of tokens, against N_PASSAGES at once."""
    optimizer = torch.optim.Adam(model.parameters(), LR, BETAS)
    watch = Watch("tokens", steps)
    for step in range(steps):
        ids, kept, numbers = data.questions(BATCH)
        columns = data.columns(numbers, data.rng.sample(range(len(data.ids)), N_PASSAGES - BATCH))
        every = model.shallow(data.ids[columns], data.masked(data.are[columns]))
        loss = data.loss(model.shallow(ids, kept) @ every.T, numbers, columns)
        loss.backward()
        scheduled(optimizer, step, steps, LR)
        watch.saw(step, loss.item())


def deep(model: Bert, data: Data, steps: int) -> None:
    """The layers, against the passages that the model takes for the right ones."""
    model.requires_grad_(False).blk.requires_grad_(True)
    optimizer = torch.optim.Adam(model.blk.parameters(), DEEP_LR, BETAS)
    watch = Watch("layers", steps)
    for step in range(steps):
        if step % RANK_EVERY == 0:
            every = vectors(model, data)
        ids, kept, numbers = data.questions(DEEP_BATCH)
        asked = model(ids, kept)
        near_by = (asked.detach() @ every.T).topk(AMONG).indices.tolist()
        columns = data.columns(
            numbers, [n for row in near_by for n in data.rng.sample(row, N_HARD)]
        )
        n_tokens = int(data.are[columns].sum(1).max())
        there = data.masked(data.are[columns, :n_tokens])
        scores = asked @ model(data.ids[columns, :n_tokens], there).T
        loss = data.loss(scores, numbers, columns)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.blk.parameters(), 1.0)
        scheduled(optimizer, step, steps, DEEP_LR)
        watch.saw(step, loss.item())


def prepared(folder: Path, found: list[Passage], config: Config) -> tuple[list[str], Tensor]:
    """The vocabulary, and vectors of its tokens to start with; made once, then read."""
    vocab_path, start_path = folder / "vocab.json", folder / "start.pt"
    if not start_path.exists():
        weighted = {
            TEXT_WEIGHT: texts(found),
            PASSAGE_WEIGHT: [one.text for one in found],
            PHRASE_WEIGHT: own_phrases(),
        }
        vocab = vocabulary(weighted)
        made = tokenizer({piece: i for i, piece in enumerate(vocab)}, 10_000)
        made.no_padding()
        rows = [one.ids[1:-1] for part in weighted.values() for one in made.encode_batch(part)]
        weights = [weight**0.5 for weight, part in weighted.items() for _ in part]
        torch.save(embedding(near(rows, weights, config.n_vocab), config.dim), start_path)
        vocab_path.write_text(json.dumps(vocab))
        print(f"{sum(map(len, rows)):,} tokens of text")
    return json.loads(vocab_path.read_text()), torch.load(start_path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where vocabulary and weights go")
    parser.add_argument("--steps", type=int, default=400, help="of the table of tokens")
    parser.add_argument("--deep-steps", type=int, default=120, help="of the layers")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true", help="keep some phrases, and ask them")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.folder.mkdir(parents=True, exist_ok=True)
    config, found = Config(), passages()
    vocab, start = prepared(args.folder, found, config)
    model = Bert(config)
    with torch.no_grad():
        model.token_embd.weight.copy_(start)
        model.token_embd.weight[[PAD, CLS, SEP], N_HIDDEN:] = 0
    data = Data(found, Texts(vocab), args.seed, args.validate)
    print(f"{len(found):,} passages, {len(data.tasks):,} phrases")
    kept = [phrase for phrase, _ in data.kept], [{n} for _, n in data.kept]

    def report(what: str) -> None:
        if data.kept:
            print(what, [f"{share:.3f}" for share in recall(model, data, *kept)], flush=True)

    first = args.folder / "tokens.pt"
    if first.exists():
        model.load_state_dict(torch.load(first))
    else:
        report("start")
        shallow(model, data, args.steps)
        torch.save(model.state_dict(), first)
    report("tokens")
    deep(model, data, args.deep_steps)
    report("all")
    torch.save({"model": model.state_dict(), "config": asdict(config)}, args.folder / "model.pt")


if __name__ == "__main__":
    main()
