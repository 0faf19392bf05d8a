"""The ways to generate that a model and a session share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from qrt.api.asking import AnswerKeywords
from qrt.api.completion import Completion, collect
from qrt.api.core import Core, Message
from qrt.api.signatures import with_options
from qrt.runtime.generate import Stream
from qrt.runtime.records import TokenRecord
from qrt.runtime.sequence import Sequence

if TYPE_CHECKING:
    from qrt.api.awaiting import Rooms, Start

_NO_VARS: Mapping[str, Any] = MappingProxyType({})


class Generates:
    """Four ways to generate, each with a twin for event loops. `options` are those of
    `AnswerKeywords`; sampling that they do not name is as the file recommends
    (`model.info.sampling`), else as in `SamplingParams`.

    A twin computes in a thread of its own and never blocks the loop; generations that are awaited
    at the same time share every step, and wait in the loop where they are more than a step takes.
    Cancelling the task, or closing the generator, ends the generation.
    """

    def __init__(self, core: Core, seq: Sequence | None) -> None:
        self._core = core
        self._seq = seq
        self._rooms: Rooms | None = None

    @with_options
    def stream(self, prompt: str | Iterable[int], **options: Unpack[AnswerKeywords]) -> Stream:
        """Yields one TokenRecord per token that continues `prompt`, text or token ids.

        A text prompt is tokenized with the special tokens the model starts with; special tokens
        written in it are plain text. Arguments are checked at once: InputError, ContextFullError.
        """
        checked = self._core.options(options)
        return self._core.start(self._core.prompt_tokens(prompt), checked, self._seq)

    @with_options
    def generate(
        self, prompt: str | Iterable[int], **options: Unpack[AnswerKeywords]
    ) -> Completion:
        """Continues `prompt` and returns when done; the arguments and errors are `stream`'s."""
        return collect(self.stream(prompt, **options))

    @with_options
    def stream_chat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        **options: Unpack[AnswerKeywords],
    ) -> Stream:
        """Yields one TokenRecord per token of the answer to `messages`.

        A message is a mapping with "role" and "content"; the whole conversation is given each time
        and is put in the model's chat template, which `template_vars` reach as variables
        (tools, enable_thinking ...). Raises TemplateError, and what `stream` raises.
        """
        checked = self._core.options(options)
        return self._core.start(self._core.chat_tokens(messages, template_vars), checked, self._seq)

    @with_options
    def chat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        **options: Unpack[AnswerKeywords],
    ) -> Completion:
        """Answers `messages` and returns when done; see `stream_chat`."""
        return collect(self.stream_chat(messages, template_vars=template_vars, **options))

    def tokenize_chat(
        self, messages: Items[Message], *, template_vars: Mapping[str, Any] = _NO_VARS
    ) -> list[int]:
        """The token ids of the prompt that `chat` makes of the same arguments."""
        return self._core.chat_tokens(messages, template_vars)

    @with_options
    def astream(
        self, prompt: str | Iterable[int], **options: Unpack[AnswerKeywords]
    ) -> AsyncGenerator[TokenRecord, None]:
        """`stream` for an event loop; the prompt is looked at when the first record is awaited."""
        from qrt.api.awaiting import records

        return records(self._later(partial(self._core.prompt_tokens, prompt), options))

    @with_options
    async def agenerate(
        self, prompt: str | Iterable[int], **options: Unpack[AnswerKeywords]
    ) -> Completion:
        """`generate` for an event loop."""
        return await self._finished(partial(self._core.prompt_tokens, prompt), options)

    @with_options
    def astream_chat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        **options: Unpack[AnswerKeywords],
    ) -> AsyncGenerator[TokenRecord, None]:
        """`stream_chat` for an event loop; messages are looked at when a record is awaited."""
        from qrt.api.awaiting import records

        tokens = partial(self._core.chat_tokens, messages, template_vars)
        return records(self._later(tokens, options))

    @with_options
    async def achat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        **options: Unpack[AnswerKeywords],
    ) -> Completion:
        """`chat` for an event loop."""
        tokens = partial(self._core.chat_tokens, messages, template_vars)
        return await self._finished(tokens, options)

    async def _finished(
        self, tokens: Callable[[], list[int]], options: AnswerKeywords
    ) -> Completion:
        from qrt.api.awaiting import Rooms, finished

        if self._rooms is None:
            self._rooms = Rooms(self._core.engine.limits.n_running)
        return await finished(self._later(tokens, options), self._rooms)

    def _later(self, tokens: Callable[[], list[int]], options: AnswerKeywords) -> Start:
        """What starts a stream in the thread that will read it; options are checked here."""
        checked = self._core.options(options)
        return lambda is_stopped: self._core.start(tokens(), checked, self._seq, is_stopped)
