"""The stream of a chat: records as any stream has them, or what the reply consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from qrt.runtime.engine import Engine
from qrt.runtime.generate import Stream
from qrt.runtime.generation import Generation
from qrt.runtime.records import TokenRecord
from qrt.runtime.sequence import Sequence

if TYPE_CHECKING:
    from qrt.replies import Event, Reader


class ChatStream(Stream):
    """The answer to messages. Iterate for its records, or over `events()`."""

    def __init__(
        self,
        engine: Engine,
        generation: Generation,
        seq: Sequence | None,
        reader: Callable[[], Reader],
    ) -> None:
        """reader: makes what tells the parts of the reply."""
        super().__init__(engine, generation, seq)
        self.reader = reader

    def events(self) -> Iterator[Event]:
        """Runs it and tells what the reply consists of, as it comes: `Thought`, `Text`,
        `CallBegun`, `CallArguments` and `CallEnded` of `qrt.replies`."""
        reader = self.reader()
        for record in self:
            yield from reader.push(record)
        yield from reader.flush()

    def told(self, records: Iterable[TokenRecord]) -> list[Event]:
        """The events of all records of the reply."""
        reader = self.reader()
        events = [event for record in records for event in reader.push(record)]
        return [*events, *reader.flush()]
