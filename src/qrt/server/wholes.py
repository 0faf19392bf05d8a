"""Answers taken whole, and several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from qrt.replies import CallArguments, CallBegun, Text, Thought
from qrt.runtime.records import TokenRecord
from qrt.server.answers import Answer

_Item = TypeVar("_Item")


@dataclass(slots=True)
class Call:
    """A call of a tool; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = ""


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a call as an object; those of one that was cut off are none."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(slots=True)
class Whole:
    """A whole answer."""

    answer: Answer
    text: str = ""
    thoughts: str = ""
    calls: list[Call] = field(default_factory=list)
    records: list[TokenRecord] = field(default_factory=list)


async def whole(answer: Answer) -> Whole:
    """Runs an answer to its end."""
    texts: list[str] = []
    thoughts: list[str] = []
    done = Whole(answer)
    async with aclosing(answer.pieces()) as batches:
        async for pieces in batches:
            done.records += [piece.record for piece in pieces]
            for event in (event for piece in pieces for event in piece.events):
                if isinstance(event, Text):
                    texts.append(event.text)
                elif isinstance(event, Thought):
                    thoughts.append(event.text)
                elif isinstance(event, CallBegun):
                    done.calls.append(Call(event.id, event.name))
                elif isinstance(event, CallArguments):
                    done.calls[event.index].arguments += event.text
    done.text, done.thoughts = "".join(texts), "".join(thoughts)
    return done


async def all_whole(answers: Sequence[Answer]) -> list[Whole]:
    """Runs answers to their ends, all at the same time; one that fails ends the others."""
    if len(answers) == 1:
        return [await whole(answers[0])]
    tasks = [asyncio.ensure_future(whole(answer)) for answer in answers]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def side_by_side(
    streams: Sequence[AsyncGenerator[_Item, None]],
) -> AsyncGenerator[_Item, None]:
    """The items of several streams as they come; what one raises ends all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for item in only:
                yield item
        return
    ready: asyncio.Queue[tuple[_Item | None, BaseException | None]] = asyncio.Queue(len(streams))

    async def pump(stream: AsyncGenerator[_Item, None]) -> None:
        error: BaseException | None = None
        try:
            async with aclosing(stream):
                async for item in stream:
                    await ready.put((item, None))
        except Exception as raised:
            error = raised
        await ready.put((None, error))

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        n_left = len(streams)
        while n_left:
            came, error = await ready.get()
            if error is not None:
                raise error
            if came is None:
                n_left -= 1
            else:
                yield came
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
