"""A model and a tokenizer small enough to know by heart, for tests of what lies above them."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, Settings
from qrt.graph.batch import PAGE_LEN, Batch
from qrt.runtime.engine import Engine
from qrt.runtime.generate import Stream
from qrt.runtime.generation import Generation
from qrt.runtime.options import options_from

BOS, EOS = 0, 1
PIECES = ("<s>", "</s>", " ", *"abcdefghijklmnopqrstuvwxyz", "the", "abc", "cde", "é")
N_VOCAB = len(PIECES)


class FakeDecoder:
    def __init__(self, special: bool = False) -> None:
        self.special = special

    def push(self, token: int) -> str:
        return "" if token in (BOS, EOS) and not self.special else PIECES[token]

    def flush(self) -> str:
        return ""


class FakeTokenizer:
    """One token per letter, longest piece first."""

    n_vocab = N_VOCAB
    bos_id, eos_id, eog_ids = BOS, EOS, frozenset({EOS})

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False):
        tokens, pieces = [BOS] if add_special else [], sorted(PIECES, key=len, reverse=True)
        while text:
            piece = next(p for p in pieces if text.startswith(p) and (parse_special or p[0] != "<"))
            tokens.append(PIECES.index(piece))
            text = text[len(piece) :]
        return tokens

    def detokenize(self, tokens: Sequence[int], **options: bool) -> str:
        decoder = FakeDecoder(options.get("special", False))
        return "".join(decoder.push(token) for token in tokens)

    def stream(self) -> FakeDecoder:
        return FakeDecoder()


@dataclass
class FakeExecutor:
    """Stores tokens in pages as a model would keys and values; logits hash all that a row sees."""

    settings: Settings
    script: Callable[[list[int]], NDArray[np.float32]] | None = None
    before_step: Callable[[], None] | None = None
    steps: list[tuple[str, list[int]]] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.pages = np.full((self.settings.n_pages, PAGE_LEN), -1)
        self.cancelled = threading.Event()

    def step(self, batch: Batch, phase: str) -> NDArray[np.float32]:
        assert not self.closed
        assert len(batch.tokens) <= self.settings.max_rows
        seen = []
        if self.before_step is not None:
            self.before_step()
        for token, position, table in zip(
            batch.tokens, batch.positions, batch.table_of, strict=True
        ):
            pages = batch.page_tables[table]
            self.pages[pages[position // PAGE_LEN], position % PAGE_LEN] = token
            seen.append(self.pages[pages].ravel()[: position + 1].tolist())
        if self.cancelled.is_set():
            raise Cancelled
        self.steps.append((phase, batch.tokens.tolist()))
        rows = [self.logits(seen[row]) for row in batch.logit_rows]
        return np.array(rows, dtype=np.float32).reshape(len(rows), N_VOCAB)

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        assert -1 not in tokens, "a position was read before it was written"
        if self.script is not None:
            return self.script(tokens)
        seed = zlib.crc32(np.array(tokens).tobytes())
        return np.random.default_rng(seed).normal(0, 3, N_VOCAB).astype(np.float32)

    def cancel(self) -> None:
        self.cancelled.set()

    def placement(self) -> list[tuple[str, str]]:
        return [("logits", "fake")]

    def close(self) -> None:
        self.closed = True


def spell(text: str, prompt_len: int) -> Callable[[list[int]], NDArray[np.float32]]:
    """A script that answers a prompt of so many tokens with `text`, a token each, then EOS."""
    answer = [*FakeTokenizer().tokenize(text, add_special=False), EOS]

    def script(tokens: list[int]) -> NDArray[np.float32]:
        logits = np.zeros(N_VOCAB, dtype=np.float32)
        logits[answer[min(len(tokens) - prompt_len, len(answer) - 1)]] = 50.0
        return logits

    return script


def executor(n_pages: int = 16, max_rows: int = 8, **kwargs) -> FakeExecutor:
    return FakeExecutor(Settings(1, n_pages, max_rows, "f32"), **kwargs)


PROMPT = list(range(3, 23))


def generation(engine: Engine, prompt=PROMPT, **options) -> Generation:
    """A generation of 12 tokens, or what `options` say."""
    checked = options_from({"seed": 1, "max_tokens": 12, "ignore_eos": True, **options})
    return Generation(engine, FakeTokenizer(), prompt, checked, N_VOCAB, 1000)


def start(engine: Engine, prompt=PROMPT, seq=None, **options) -> Stream:
    """A stream of such a generation."""
    return Stream(generation(engine, prompt, **options), seq)


def tokens(stream: Stream) -> list[int]:
    """Runs a stream to its end."""
    return [record.token for record in stream]
