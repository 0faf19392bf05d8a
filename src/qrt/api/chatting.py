"""One call of `chat`: the conversation as it is put to the model, and rounds of tools in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qrt.api.asking import AnswerKeywords
from qrt.api.chat_stream import ChatStream
from qrt.api.completion import Completion
from qrt.api.core import Core, Message
from qrt.api.toolbox import Toolbox, ToolCall, ToolLike
from qrt.errors import InputError
from qrt.runtime.checks import check_bool, check_int, shown
from qrt.runtime.sequence import Sequence

if TYPE_CHECKING:
    from qrt.replies import ToolChoice

MAX_ROUNDS = 100


@dataclass(frozen=True)
class Chatting:
    """What a call of `chat` asks for, but for the messages. Raises InputError."""

    core: Core
    seq: Sequence | None
    template_vars: Mapping[str, Any]
    tools: Toolbox
    tool_choice: ToolChoice
    keywords: AnswerKeywords

    def after_calls(self) -> Chatting:
        """The same, but for a choice of tools, which held for the first answer alone."""
        return dataclasses.replace(self, tool_choice="auto")

    def start(
        self, messages: Items[Message], is_stopped: Callable[[], bool] | None = None
    ) -> ChatStream:
        """The stream of the answer to messages."""
        return self.core.start_chat(
            messages,
            self.template_vars,
            self.tools.stated,
            self.tool_choice,
            self.keywords,
            self.seq,
            is_stopped,
        )


def chatting(
    core: Core,
    seq: Sequence | None,
    template_vars: Mapping[str, Any],
    tools: Items[ToolLike],
    tool_choice: ToolChoice,
    keywords: AnswerKeywords,
) -> Chatting:
    """A call with these arguments. Raises InputError."""
    box = Toolbox(() if tool_choice == "none" else tools)
    core.options(keywords)
    return Chatting(core, seq, template_vars, box, tool_choice, keywords)


@dataclass
class Rounds:
    """The rounds of one call of `chat` that runs tools.

    After each answer `asks` says whether calls of it are to be run; `answer` takes their results,
    and what the conversation is then.
    """

    messages: list[Message]
    n_left: int
    _new: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def asks(self, completion: Completion) -> tuple[ToolCall, ...]:
        """The calls to be run; none after the last round."""
        self.n_left -= 1
        return completion.tool_calls if self.n_left > 0 else ()

    def answer(self, completion: Completion, results: Items[str]) -> None:
        """Puts an answer and the results of its calls behind the conversation."""
        self._new += completion.messages
        for call, text in zip(completion.tool_calls, results, strict=True):
            result = {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": text}
            self._new.append(result)
        self.messages = [*self.messages, *self._new[len(self._new) - len(results) - 1 :]]

    def ended(self, completion: Completion) -> Completion:
        """The last answer, with the messages of all rounds."""
        return dataclasses.replace(completion, messages=(*self._new, *completion.messages))


def rounds_of(messages: Items[Message], tools: Toolbox, run_tools: bool, max_rounds: int) -> Rounds:
    """The rounds that a call may have. Raises InputError."""
    check_int("max_rounds", max_rounds, 1, MAX_ROUNDS)
    if check_bool("run_tools", run_tools) and tools.told_only is not None:
        raise InputError(
            f"run_tools needs functions, and the tool {shown(tools.told_only)} is only told; "
            "give the function itself, or run its calls yourself"
        )
    return Rounds(list(messages), max_rounds if run_tools else 1)
