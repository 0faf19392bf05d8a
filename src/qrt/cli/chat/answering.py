"""One answer of a chat, which goes on when it fills the context, while older turns can leave it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qrt.cli.chat.eviction import fitted
from qrt.errors import ContextFullError

if TYPE_CHECKING:
    from qrt.api import Timings, TokenRecord
    from qrt.cli.chat.conversation import Conversation, Message
    from qrt.cli.chat.respondent import Respondent
    from qrt.cli.chat.settings import Settings


class Answering:
    """Iterate to get the records of the answer to the last question of `conversation`.

    Whole turns leave the conversation where there is too little room; `n_gone` counts them. An
    answer that goes on after that is what a fresh chat gives to the turns that are left and the
    answer so far. Raises ContextFullError, when it is made, for a question that is too long.
    """

    def __init__(
        self, respondent: Respondent, conversation: Conversation, settings: Settings, n_others: int
    ) -> None:
        self.records: list[TokenRecord] = []
        self.n_gone = 0
        self.timings: Timings | None = None
        self.is_full = False
        """Whether the context ended it."""
        self._respondent = respondent
        self._conversation = conversation
        self._keywords = settings.for_answer(n_others, respondent.model.info.sampling)
        self._max_tokens = settings.max_tokens
        self._prompt: list[int] = []
        self._make_room([])
        self.reader = respondent.reader(self._prompt)
        """What tells its thoughts from the answer."""

    def __iter__(self) -> Iterator[TokenRecord]:
        goes_on = True
        while goes_on:
            goes_on = False
            with self._respondent.stream(self._prompt, self._left()) as stream:
                for n_tokens, record in enumerate(stream, 1):
                    is_last = record.finish_reason == "length"
                    self.is_full = is_last and len(self._prompt) + n_tokens >= self._n_ctx
                    if self.is_full and self._goes_on():
                        goes_on = True
                        break
                    self.records.append(record)
                    yield record
                self.timings = stream.timings

    @property
    def _n_ctx(self) -> int:
        return self._respondent.n_ctx

    def _goes_on(self) -> bool:
        """Whether older turns have made room for more.

        It goes on behind the last token that gave text: those after it are half a character.
        """
        kept = list(self.records)
        while kept and not kept[-1].text:
            kept.pop()
        if self._max_tokens is not None and len(kept) >= self._max_tokens:
            return False
        try:
            if not self._make_room(kept):
                return False
        except ContextFullError:
            return False
        self.records = kept
        return True

    def _make_room(self, records: list[TokenRecord]) -> bool:
        """Makes the prompt, with what it has said; whether turns had to leave for it."""
        said = [record.token for record in records]

        def tokens(messages: list[Message]) -> list[int]:
            return self._respondent.tokens(messages) + said

        max_tokens = self._max_tokens and self._max_tokens - len(records)
        prompt, n_gone = fitted(self._conversation, tokens, self._n_ctx, max_tokens)
        self.n_gone += n_gone
        self._prompt = prompt
        return n_gone > 0

    def _left(self) -> dict[str, Any]:
        """The options of what is left of it."""
        if self._max_tokens is None:
            return self._keywords
        return {**self._keywords, "max_tokens": self._max_tokens - len(self.records)}
