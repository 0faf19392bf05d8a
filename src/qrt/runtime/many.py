"""Many generations on one model, decoded together: one row of each in every step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from qrt.runtime.engine import Engine, StoppedError
from qrt.runtime.generation import Generation
from qrt.runtime.kv import Sequence, pages_for
from qrt.runtime.records import TokenRecord


def run_many(
    engine: Engine, generations: Iterable[Generation], batch_size: int
) -> list[list[TokenRecord]]:
    """The records of each generation, in the order given.

    At most `batch_size` run at a time, and no more than have KV pages for all they may need; one
    that ends leaves the batch and the next takes its place. Rows do not influence each other, so
    each gives what it gives alone.
    """
    batch = _Batch(engine, list(generations), batch_size)
    try:
        while batch.admit():
            batch.step()
    except StoppedError:
        pass
    finally:
        batch.close()
    return batch.records


class _Batch:
    def __init__(self, engine: Engine, generations: list[Generation], size: int) -> None:
        self.records: list[list[TokenRecord]] = [[] for _ in generations]
        self._engine = engine
        self._size = size
        self._waiting = deque(enumerate(generations))
        self._running: list[tuple[int, Generation, Sequence]] = []

    def admit(self) -> bool:
        """Starts waiting generations while there is room; whether any is running."""
        while self._waiting and len(self._running) < self._size:
            number, generation = self._waiting[0]
            held = sum(pages_for(running.n_positions) for _, running, _ in self._running)
            if self._running and held + pages_for(generation.n_positions) > self._engine.n_pages:
                break
            self._waiting.popleft()
            seq = self._engine.open()
            self._running.append((number, generation, seq))
            self._note(number, generation.start(seq))
            self._retire()
        return bool(self._running)

    def step(self) -> None:
        """One token more for every running generation."""
        rows = [(seq, generation.next_token(seq)) for _, generation, seq in self._running]
        logits = self._engine.decode(rows)
        for (number, generation, _), row in zip(self._running, logits, strict=True):
            self._note(number, generation.take(row))
        self._retire()

    def close(self) -> None:
        """Frees the pages of what is still running."""
        for _, _, seq in self._running:
            self._engine.release(seq)

    def _note(self, number: int, record: TokenRecord) -> None:
        self.records[number].append(record)

    def _retire(self) -> None:
        """Takes out the generations that have ended."""
        going = []
        for number, generation, seq in self._running:
            if self.records[number][-1].finish_reason is None:
                going.append((number, generation, seq))
            else:
                self._engine.release(seq)
        self._running = going
