"""Generation: a prompt's tokens in, one record per sampled token out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from qrt.runtime.generation import Generation
from qrt.runtime.kv import Sequence
from qrt.runtime.records import Timings, TokenRecord

if TYPE_CHECKING:
    from types import TracebackType


class Stream(Iterator[TokenRecord]):
    """One generation: iterate to run it; close it, or let go of it, to end it early.

    The prompt is computed when the first record is asked for.
    """

    def __init__(self, generation: Generation, seq: Sequence | None = None) -> None:
        """Works on `seq` and leaves it idle, or on a sequence of its own."""
        self._generation = generation
        self._records = generation.run(seq)

    @property
    def seed(self) -> int:
        """The seed of this generation's random numbers."""
        return self._generation.seed

    @property
    def n_prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self._generation.prompt)

    @property
    def timings(self) -> Timings:
        """The timings so far."""
        return self._generation.timings

    def close(self) -> None:
        """Ends the generation; its KV pages are kept for the session's next turn, or freed."""
        self._records.close()

    def __next__(self) -> TokenRecord:
        return next(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
