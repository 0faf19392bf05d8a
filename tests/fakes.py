"""A model and a tokenizer small enough to know by heart, for tests of what lies above them."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, PlainRows, Settings
from qrt.graph.batch import NO_PAGE, PAGE_LEN, Batch, Segment
from qrt.graph.state import KV, Recurrent, StateGroup
from qrt.runtime.engine import Engine
from qrt.runtime.generate import Stream
from qrt.runtime.generation import Generation
from qrt.runtime.options import options_from

BOS, EOS = 0, 1
PIECES = ("<s>", "</s>", " ", *"abcdefghijklmnopqrstuvwxyz", "the", "abc", "cde", "é")
N_VOCAB = len(PIECES)
WINDOW = 128


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

    def find_special(self, piece: str) -> int | None:
        return PIECES.index(piece) if piece in PIECES[:2] else None

    def stream(self) -> FakeDecoder:
        return FakeDecoder()


GROUPS = (
    KV(layers=(0,), k_width=1, v_width=1, n_kv_heads=1),
    KV(layers=(1,), k_width=1, v_width=1, n_kv_heads=1, window=WINDOW),
    Recurrent(layers=(2,), n_bytes=8),
)
"""A group of each kind."""
PLAIN = GROUPS[:1]


@dataclass
class FakeExecutor(PlainRows):
    """Stores tokens where a model would store keys, values and states.

    Logits hash all that a row may see through its tables. What must not be read or written is
    asserted, and a step that fails leaves rubbish in what it was to write.
    """

    settings: Settings
    groups: Sequence[StateGroup] = PLAIN
    script: Callable[[list[int]], NDArray[np.float32]] | None = None
    before_step: Callable[[], None] | None = None
    steps: list[list[list[int]]] = field(default_factory=list)
    """The tokens of each segment of each step."""
    n_copies: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        shapes = {KV: (PAGE_LEN,), Recurrent: (2,)}
        self.stored = [
            np.full((n, *shapes[type(group)]), -1, np.int64)
            for n, group in zip(self.settings.capacities, self.groups, strict=True)
        ]
        self.cancelled = threading.Event()

    def step(self, batch: Batch) -> NDArray[np.float32]:
        assert not self.closed
        assert 0 < batch.n_rows <= self.settings.max_rows
        for number, group in enumerate(self.groups):
            self._spoil(batch, number, group)
        if self.before_step is not None:
            self.before_step()
        if self.cancelled.is_set():
            raise Cancelled
        self.steps.append([segment.tokens.tolist() for segment in batch.segments])
        rows = [row for segment in batch.segments for row in self._run(segment)]
        return np.array(rows, dtype=np.float32).reshape(len(rows), N_VOCAB)

    def _spoil(self, batch: Batch, number: int, group: StateGroup) -> None:
        """Makes rubbish of all that the batch writes, and checks that it is nobody else's."""
        tables = [segment.tables[number] for segment in batch.segments]
        assert all(table.dtype == np.int32 for table in tables)
        written = []
        for segment, table in zip(batch.segments, tables, strict=True):
            end = segment.start + len(segment.tokens)
            if isinstance(group, Recurrent):
                self.stored[number][table[1]] = -1
                written.append({int(table[1])})
                continue
            assert len(table) == -(-end // PAGE_LEN)
            for position in range(segment.start, end):
                self.stored[number][table[position // PAGE_LEN], position % PAGE_LEN] = -1
            written.append(set(table[segment.start // PAGE_LEN :].tolist()))
        for i, pages in enumerate(written):
            assert NO_PAGE not in pages
            assert all(pages.isdisjoint(other.tolist()) for j, other in enumerate(tables) if j != i)

    def _run(self, segment: Segment) -> list[NDArray[np.float32]]:
        start, end = segment.start, segment.start + len(segment.tokens)
        positions = np.arange(start, end)
        seen = [[zlib.crc32(b"") for _ in positions] for _ in self.groups]
        for number, group in enumerate(self.groups):
            stored, table = self.stored[number], segment.tables[number]
            if isinstance(group, Recurrent):
                at, chain = stored[table[0]].tolist() if start else (0, 0)
                assert at == start, "a state was read that is another position's"
                chains = list(accumulate(segment.tokens.tolist(), _chained, initial=chain))[1:]
                stored[table[1]] = end, chains[-1]
                seen[number] = chains
                continue
            stored[table[positions // PAGE_LEN], positions % PAGE_LEN] = segment.tokens
            window = group.window or end
            first = max(start - window + 1, 0) // PAGE_LEN
            assert NO_PAGE not in table[first:], "a page was let go too early"
            flat = stored[table[first:]].ravel()
            for row in segment.logit_rows:
                position = start + row
                visible = flat[max(position - window + 1, 0) - first * PAGE_LEN :]
                visible = visible[: min(position + 1, window)]
                assert -1 not in visible, "a position was read before it was written"
                seen[number][row] = zlib.crc32(visible.tobytes())
                if self.script is not None and number == 0:
                    seen[number][row] = visible.tolist()
        return [self._logits([group[row] for group in seen]) for row in segment.logit_rows]

    def _logits(self, seen: list) -> NDArray[np.float32]:
        if self.script is not None:
            return self.script(seen[0])
        seed = zlib.crc32(np.array(seen, np.int64).tobytes())
        return np.random.default_rng(seed).normal(0, 3, N_VOCAB).astype(np.float32)

    def copy_page(self, group: int, source: int, target: int) -> None:
        assert isinstance(self.groups[group], KV)
        self.stored[group][target] = self.stored[group][source]
        self.n_copies += 1

    def page(self, group: int, number: int) -> list[NDArray[np.uint8]]:
        return [self.stored[group][number].view(np.uint8)]

    def page_digest(self) -> bytes:
        return b"fake"

    def cancel(self) -> None:
        self.cancelled.set()

    def placement(self) -> list[tuple[str, str]]:
        return [("logits", "fake")]

    def close(self) -> None:
        self.closed = True


def _chained(chain: int, token: int) -> int:
    return zlib.crc32(token.to_bytes(2, "little"), chain)


def spell(text: str, prompt_len: int) -> Callable[[list[int]], NDArray[np.float32]]:
    """A script that answers a prompt of so many tokens with `text`, a token each, then EOS."""
    answer = [*FakeTokenizer().tokenize(text, add_special=False), EOS]

    def script(tokens: list[int]) -> NDArray[np.float32]:
        logits = np.zeros(N_VOCAB, dtype=np.float32)
        logits[answer[min(len(tokens) - prompt_len, len(answer) - 1)]] = 50.0
        return logits

    return script


def executor(
    n_pages: int = 16, max_rows: int = 8, groups=PLAIN, n_slots: int | None = None, **kwargs
) -> FakeExecutor:
    """With `n_pages` pages or slots of each group, or `n_slots` slots."""
    counts = {KV: n_pages, Recurrent: n_pages if n_slots is None else n_slots}
    capacities = tuple(counts[type(group)] for group in groups)
    return FakeExecutor(Settings(1, capacities, max_rows, "f32", 1 << 16), groups, **kwargs)


def engine(n_ctx: int = 128, fake: FakeExecutor | None = None, **kwargs) -> Engine:
    """On `fake`, or on what `executor` makes of `kwargs`."""
    fake = fake or executor(**kwargs)
    return Engine(fake, fake.groups, n_ctx)


PROMPT = list(range(3, 23))


def generation(engine: Engine, prompt=PROMPT, **options) -> Generation:
    """A generation of 12 tokens, or what `options` say."""
    checked = options_from({"seed": 1, "max_tokens": 12, "ignore_eos": True, **options})
    return Generation(engine.n_ctx, FakeTokenizer(), prompt, checked, N_VOCAB, 1000)


def start(engine: Engine, prompt=PROMPT, seq=None, **options) -> Stream:
    """A stream of such a generation."""
    return Stream(engine, generation(engine, prompt, **options), seq)


def tokens(stream: Stream) -> list[int]:
    """Runs a stream to its end."""
    return [record.token for record in stream]


def alone(prompt=PROMPT, n_ctx=128, groups=PLAIN, **options) -> list[int]:
    """What such a generation gives with nothing beside it, in one step for the prompt."""
    quiet = engine(n_ctx, n_pages=256, max_rows=4096, groups=groups)
    return tokens(start(quiet, prompt, **options))


def together(calls: Sequence[Callable[[], object]]) -> list[object]:
    """What each call returns, or raises, when all run at the same time in threads of their own."""
    results: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(i: int) -> None:
        barrier.wait()
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results
