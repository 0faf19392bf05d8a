"""Who answers in a chat: a loaded model, and a session that keeps what turns share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qrt.cli.loading import has_chat_format, loaded
from qrt.errors import InputError, QrtError
from qrt.replies import Reader, reader_of, template_vars

if TYPE_CHECKING:
    from qrt.api import Model, Stream
    from qrt.cli.chat.conversation import Message
    from qrt.cli.chat_flags import ChatFlags


_WORTH_S = 1.0
"""What takes less to compute again is not worth a file."""


class Respondent:
    """The model at `path`, None for the embedded one, loaded as `load` says; raises as `qrt.load`.

    One without a chat format, or told to have no conversation, continues the last message. `think`
    says whether it thinks before an answer; None leaves it to its chat template.
    """

    def __init__(self, path: str | None, load: ChatFlags, think: bool | None = None) -> None:
        self.path = path
        self.load = load
        given = load.template_vars
        self.model = loaded(path, load)
        self.has_chat_format = load.conversation is not False and (
            load.template is not None or has_chat_format(self.model)
        )
        self._template_vars = _asking(self.model, think) | given
        self._session = self.model.session()
        self._last: Stream | None = None
        self._prefill_tok_s = 0.0

    @property
    def n_ctx(self) -> int:
        """Tokens that its context holds."""
        return self.model.info.n_ctx

    @property
    def title(self) -> str:
        """Its name, and what is to be known of it."""
        info = self.model.info
        kind = "" if self.has_chat_format else ", no chat format: it continues each text"
        return f"{info.name} ({info.arch}, context {info.n_ctx}{kind})"

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The prompt for `messages`."""
        if self.has_chat_format:
            return self.model.tokenize_chat(messages, template_vars=self._template_vars)
        return self.model.tokenize(messages[-1]["content"])

    def reader(self, prompt: Sequence[int]) -> Reader:
        """What tells the thoughts in a reply to a prompt."""
        return reader_of(self.model.tokenizer, self.model.chat_template.source, prompt)

    def count(self, text: str) -> int:
        """The tokens of a text alone."""
        return len(self.model.tokenize(text, add_special=False))

    def stream(self, prompt: list[int], keywords: Mapping[str, Any]) -> Stream:
        """The answer to a prompt."""
        if self._last is not None:
            self._prefill_tok_s = max(self._prefill_tok_s, self._last.timings.prefill_tok_s)
        self._last = self._session.stream(prompt, **keywords)
        return self._last

    def recall(self, path: Path) -> None:
        """Takes what is stored in a file, if it is there and of this model."""
        with suppress(OSError, QrtError):
            self._session.load_state(path)

    def remember(self, path: Path) -> None:
        """Stores in a file what would take long to compute again, if that can be.

        A file is read in a hundredth of that time and less: of a 1B model, 34 MB for 1000 tokens.
        """
        if self._last is not None and self._seconds_to_compute(self._last) >= _WORTH_S:
            with suppress(OSError, QrtError):
                self._session.save_state(path)

    def close(self) -> None:
        """Frees the model."""
        self._session.close()
        self.model.close()

    def _seconds_to_compute(self, last: Stream) -> float:
        """The time that all of the last prompt and its answer would take."""
        timings = last.timings
        speed = max(self._prefill_tok_s, timings.prefill_tok_s)
        return (timings.n_prompt_tokens + timings.n_tokens) / speed if speed else 0.0


def _asking(model: Model, think: bool | None) -> dict[str, Any]:
    """The variables that make a chat template ask for thoughts, or for none. Raises InputError if
    it has no such variable."""
    given = template_vars(model.chat_template.source, think) if think is not None else {}
    if think is not None and not given:
        raise InputError(
            f"the chat template of {model.info.name} has no switch for thinking; leave "
            f"--{'think' if think else 'no-think'} out (--hide-think hides what it thinks)"
        )
    return given
