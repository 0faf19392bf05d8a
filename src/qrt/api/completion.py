"""A finished generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from qrt.api.chat_stream import ChatStream
from qrt.api.toolbox import ToolCall, calls_of
from qrt.runtime.checks import shown
from qrt.runtime.constraint import ConstraintFactory
from qrt.runtime.generate import Stream
from qrt.runtime.records import FinishReason, Plain, Timings, TokenRecord, TopLogprobs
from qrt.structure.grammars import Held

if TYPE_CHECKING:
    from qrt.replies import Event


@dataclass(frozen=True, slots=True, repr=False)
class Completion(Plain):
    """Everything a stream gave, put together; `str` of it is its text."""

    text: str
    tokens: tuple[int, ...]
    """Every sampled token, the one that ended the answer included."""
    logprobs: tuple[float, ...]
    """Natural log of each token's probability under the model's own logits."""
    finish_reason: FinishReason | Literal["cancelled"]
    """As in the last record; "cancelled" if the `cancel` event ended it."""
    seed: int
    """With the same prompt and options, it gives the same tokens again."""
    n_prompt_tokens: int
    timings: Timings
    top_logprobs: tuple[TopLogprobs, ...] = ()
    """For each token, the `logprobs` likeliest in its place, if so many were asked for."""
    content: str = ""
    """Of a chat: the answer without thoughts and calls; else the text."""
    reasoning: str = ""
    """Of a chat: what the model thought before it answered."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of a chat: the tools that the model calls."""
    messages: tuple[dict[str, Any], ...] = ()
    """Of a chat: what it adds to the conversation, with the calls and results of `run_tools`."""
    _parse: Callable[[], Any] | None = field(default=None, compare=False)

    @property
    def parsed(self) -> Any:
        """What the answer says, as `response_format` asked: an instance of the class, or plain
        values; None where nothing was asked, or the answer was cut short.

        Raises InputError for an answer that the class itself refuses.
        """
        return None if self._parse is None else self._parse()

    def to_dict(self) -> dict[str, Any]:
        """Its fields in plain containers, those of records within it too."""
        fields = Plain.to_dict(self)
        del fields["_parse"]
        return fields

    def __str__(self) -> str:
        return self.text

    def __format__(self, spec: str) -> str:
        return format(self.text, spec)

    def __repr__(self) -> str:
        return (
            f"<qrt.Completion {shown(self.text)}, {len(self.tokens)} tokens, {self.finish_reason}>"
        )

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.text


def collect(stream: Stream) -> Completion:
    """Runs a stream to its end."""
    with stream:
        records = stream.read()
    return collected(stream, records)


def collected(stream: Stream, records: Sequence[TokenRecord]) -> Completion:
    """The records that a stream gave put together."""
    done = completion(
        records, stream.seed, stream.n_prompt_tokens, stream.timings, stream.constrain
    )
    return _told(done, stream.told(records)) if isinstance(stream, ChatStream) else done


def _told(done: Completion, events: Sequence[Event]) -> Completion:
    """A completion with what its reply consists of."""
    from qrt.replies import Text, Thought

    content = "".join(event.text for event in events if isinstance(event, Text))
    reasoning = "".join(event.text for event in events if isinstance(event, Thought))
    calls = calls_of(events)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [call.message() for call in calls]
    return replace(
        done, content=content, reasoning=reasoning, tool_calls=calls, messages=(message,)
    )


def _parse(
    records: Sequence[TokenRecord], constrain: ConstraintFactory | None
) -> Callable[[], Any] | None:
    """What reads an answer that ended by itself, if it was held to something that is read."""
    if not isinstance(constrain, Held) or constrain.form.parse is None or not records:
        return None
    if records[-1].finish_reason != "stop" or records[-1].stop_string:
        return None
    return partial(constrain.form.parse, constrain.answer(records))


def completion(
    records: Sequence[TokenRecord],
    seed: int,
    n_prompt_tokens: int,
    timings: Timings,
    constrain: ConstraintFactory | None,
) -> Completion:
    """The records of one generation, held to what `constrain` makes, put together."""
    finish = records[-1].finish_reason if records else None
    text = "".join(record.text for record in records)
    return Completion(
        text=text,
        content=text,
        tokens=tuple(record.token for record in records),
        logprobs=tuple(record.logprob for record in records),
        finish_reason=finish or "cancelled",
        seed=seed,
        n_prompt_tokens=n_prompt_tokens,
        timings=timings,
        top_logprobs=tuple(record.top_logprobs for record in records if record.top_logprobs),
        _parse=_parse(records, constrain),
    )
