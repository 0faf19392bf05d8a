"""The ways to generate that a model and a session share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from qrt.api.asking import AnswerKeywords
from qrt.api.chat_stream import ChatStream
from qrt.api.chatting import Chatting, chatting, rounds_of
from qrt.api.completion import Completion, collect
from qrt.api.core import Core, Message
from qrt.api.signatures import with_options
from qrt.api.toolbox import ToolLike
from qrt.runtime.generate import Stream
from qrt.runtime.records import TokenRecord
from qrt.runtime.sequence import Sequence

if TYPE_CHECKING:
    from qrt.api.awaiting import Rooms, Start
    from qrt.replies import Event, ToolChoice

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
        tools: Items[ToolLike] = (),
        tool_choice: ToolChoice = "auto",
        **options: Unpack[AnswerKeywords],
    ) -> ChatStream:
        """Yields one TokenRecord per token of the answer to `messages`; `events()` tells thoughts
        and calls of tools from the answer.

        A message is a mapping with "role" and "content"; the whole conversation is given each time
        and is put in the model's chat template, which `template_vars` reach as variables
        (enable_thinking ...). tools: what the model may call, Python functions or JSON as OpenAI's
        interface has it. tool_choice: "auto", "none", "required" (it calls some tool), or the name
        of the tool that it calls. Raises TemplateError, and what `stream` raises.
        """
        return self._chatting(template_vars, tools, tool_choice, options).start(messages)

    @with_options
    def chat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        tools: Items[ToolLike] = (),
        tool_choice: ToolChoice = "auto",
        run_tools: bool = False,
        max_rounds: int = 8,
        **options: Unpack[AnswerKeywords],
    ) -> Completion:
        """Answers `messages` and returns when done; see `stream_chat`.

        run_tools: functions that the model calls are run, and it is asked again with what they
        returned or raised, until it calls none; `max_rounds` answers at most.
        """
        chat = self._chatting(template_vars, tools, tool_choice, options)
        rounds = rounds_of(messages, chat.tools, run_tools, max_rounds)
        while calls := rounds.asks(done := collect(chat.start(rounds.messages))):
            rounds.answer(done, [chat.tools.run(call) for call in calls])
            chat = chat.after_calls()
        return rounds.ended(done)

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
    def astream_batches(
        self, prompt: str | Iterable[int], **options: Unpack[AnswerKeywords]
    ) -> AsyncGenerator[list[TokenRecord], None]:
        """`astream` in lists, each of all records that came since the last was asked for: small
        models make a token sooner than an event loop can pass it on."""
        from qrt.api.awaiting import batches

        return batches(self._later(partial(self._core.prompt_tokens, prompt), options))

    @with_options
    async def agenerate(
        self, prompt: str | Iterable[int], **options: Unpack[AnswerKeywords]
    ) -> Completion:
        """`generate` for an event loop."""
        return await self._finished(self._later(partial(self._core.prompt_tokens, prompt), options))

    @with_options
    def astream_chat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        tools: Items[ToolLike] = (),
        tool_choice: ToolChoice = "auto",
        **options: Unpack[AnswerKeywords],
    ) -> AsyncGenerator[TokenRecord, None]:
        """`stream_chat` for an event loop; messages are looked at when a record is awaited."""
        from qrt.api.awaiting import records

        chat = self._chatting(template_vars, tools, tool_choice, options)
        return records(partial(chat.start, messages))

    @with_options
    def astream_events(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        tools: Items[ToolLike] = (),
        tool_choice: ToolChoice = "auto",
        **options: Unpack[AnswerKeywords],
    ) -> AsyncGenerator[Event, None]:
        """The `events()` of `stream_chat` for an event loop."""
        from qrt.api.awaiting import events

        chat = self._chatting(template_vars, tools, tool_choice, options)
        return events(partial(chat.start, messages))

    @with_options
    async def achat(
        self,
        messages: Items[Message],
        *,
        template_vars: Mapping[str, Any] = _NO_VARS,
        tools: Items[ToolLike] = (),
        tool_choice: ToolChoice = "auto",
        run_tools: bool = False,
        max_rounds: int = 8,
        **options: Unpack[AnswerKeywords],
    ) -> Completion:
        """`chat` for an event loop; functions that it runs may be coroutines, others have a thread
        each."""
        chat = self._chatting(template_vars, tools, tool_choice, options)
        rounds = rounds_of(messages, chat.tools, run_tools, max_rounds)
        while calls := rounds.asks(
            done := await self._finished(partial(chat.start, rounds.messages))
        ):
            rounds.answer(done, [await chat.tools.arun(call) for call in calls])
            chat = chat.after_calls()
        return rounds.ended(done)

    def _chatting(
        self,
        template_vars: Mapping[str, Any],
        tools: Items[ToolLike],
        tool_choice: ToolChoice,
        options: AnswerKeywords,
    ) -> Chatting:
        return chatting(self._core, self._seq, template_vars, tools, tool_choice, options)

    async def _finished(self, start: Start) -> Completion:
        from qrt.api.awaiting import Rooms, finished

        if self._rooms is None:
            self._rooms = Rooms(self._core.engine.limits.n_running)
        return await finished(start, self._rooms)

    def _later(self, tokens: Callable[[], list[int]], options: AnswerKeywords) -> Start:
        """What starts a stream in the thread that will read it; options are checked here."""
        checked = self._core.options(options)
        return lambda is_stopped: self._core.start(tokens(), checked, self._seq, is_stopped)
