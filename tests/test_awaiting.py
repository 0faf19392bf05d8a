"""Generations that an event loop waits for: they never block it, and end when their task does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from time import perf_counter

import pytest
from letters import Watched

import qrt
from qrt.runtime.policy import AHEAD_OF_LOOP, Limits

OPTIONS = {"max_tokens": 9, "seed": 4, "ignore_eos": True}
MESSAGES = [{"role": "user", "content": "abc"}]


class Gated(Watched):
    """Its steps wait, from the third on, until somebody opens the gate."""

    def __init__(self, executor):
        super().__init__(executor)
        self.n_steps, self.waits, self.gate = 0, threading.Event(), threading.Event()

    def step(self, batch):
        self.n_steps += 1
        if self.n_steps > 2:
            self.waits.set()
            assert self.gate.wait(20), "nobody opened the gate: the loop was blocked"
        return super().step(batch)


async def until(event):
    while not event.is_set():
        await asyncio.sleep(0.001)


def test_the_twins_give_what_their_originals_give(model):
    async def main():
        one, chat = await asyncio.gather(
            model.agenerate("abc", **OPTIONS), model.achat(MESSAGES, **OPTIONS)
        )
        streamed = [record async for record in model.astream("abc", **OPTIONS)]
        told = [record async for record in model.astream_chat(MESSAGES, **OPTIONS)]
        return one, chat, streamed, told

    one, chat, streamed, told = asyncio.run(main())
    assert one.tokens == model.generate("abc", **OPTIONS).tokens
    assert chat.tokens == model.chat(MESSAGES, **OPTIONS).tokens
    assert tuple(record.token for record in streamed) == one.tokens
    assert tuple(record.token for record in told) == chat.tokens
    assert streamed[-1].finish_reason == "length"


def test_the_loop_goes_on_while_a_step_is_computed(make, loaded):
    gated = Gated(loaded.executor)
    model = make(executor=gated)

    async def main():
        task = asyncio.create_task(model.agenerate("abc", **OPTIONS))
        await until(gated.waits)
        gated.gate.set()
        return await task

    assert len(asyncio.run(main()).tokens) == 9


def test_many_tasks_share_steps(make, loaded):
    gated = Gated(loaded.executor)
    gated.gate.set()
    model = make(executor=gated)

    async def main():
        return await asyncio.gather(*[model.agenerate([5, i], **OPTIONS) for i in range(3, 15)])

    answers = asyncio.run(main())
    assert gated.n_steps < 12 * 9 / 2
    assert [a.tokens for a in answers] == [
        model.generate([5, i], **OPTIONS).tokens for i in range(3, 15)
    ]


def test_more_tasks_than_the_engine_takes_wait(model):
    engine = model._core.engine
    few = Limits(engine.max_rows, max_running=2, max_waiting=2)
    engine.limits = engine._scheduler._limits = few

    async def main():
        return await asyncio.gather(*[model.agenerate("abc", **OPTIONS) for _ in range(40)])

    for _ in range(2):  # each in a loop of its own
        assert len({answer.tokens for answer in asyncio.run(main())}) == 1


async def _generate(place):
    await place.agenerate("abc", **OPTIONS)


async def _stream(place):
    async for _ in place.astream("abc", **OPTIONS):
        pass


@pytest.mark.parametrize("work", [_generate, _stream])
def test_cancelling_the_task_ends_the_generation_and_frees_its_pages(make, loaded, work):
    gated = Gated(loaded.executor)
    model = make(executor=gated)
    engine = model._core.engine
    session = model.session()

    async def main():
        for place in (model, session):
            gated.n_steps = 0
            gated.waits.clear()
            gated.gate.clear()
            task = asyncio.create_task(work(place))
            await until(gated.waits)
            task.cancel()
            await asyncio.sleep(0)
            gated.gate.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            if place is model:
                assert engine.n_free_pages == engine.n_pages
            assert gated.n_steps == 3  # the step under way was the last
        return await session.agenerate("abc", **OPTIONS)

    assert asyncio.run(main()).tokens == model.generate("abc", **OPTIONS).tokens
    engine.check_integrity()


def test_a_stream_that_is_left_ends(model):
    engine = model._core.engine

    async def main():
        async with contextlib.aclosing(model.astream("abc", **OPTIONS)) as stream:
            async for _ in stream:
                break
        assert engine.n_free_pages == engine.n_pages
        async for _ in model.astream("abc", **OPTIONS):
            break  # nobody closes it but the loop

    asyncio.run(main())
    assert engine.n_free_pages == engine.n_pages


def test_a_slow_reader_is_waited_for(make, loaded):
    gated = Gated(loaded.executor)
    gated.gate.set()
    model = make(executor=gated)

    async def main():
        stream = model.astream("abc", **{**OPTIONS, "max_tokens": 60})
        await anext(stream)
        await asyncio.sleep(0.3)
        assert 0 < gated.n_steps <= AHEAD_OF_LOOP + 2
        assert len([record async for record in stream]) == 59

    asyncio.run(main())


def test_a_loop_that_had_news_is_not_woken_for_each_token(model, monkeypatch):
    monkeypatch.setattr("qrt.runtime.driver._PAUSE_S", 0.1)
    options = {**OPTIONS, "max_tokens": 60}
    calls = []

    async def main():
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *call: (calls.append(call), wake(*call))[1]
        return [batch async for batch in model.astream_batches("abc", **options)]

    started = perf_counter()
    batches = asyncio.run(main())
    pauses = (perf_counter() - started) / 0.1
    assert len(batches) < 4 + pauses
    assert len(calls) < 4 + pauses
    told = tuple(record.token for batch in batches for record in batch)
    assert told == model.generate("abc", **options).tokens


def test_what_a_generation_raises_is_raised_to_the_task(model):
    def broken(_ids, _logits):
        raise KeyError("mine")

    async def main():
        with pytest.raises(qrt.InputError, match="unknown option 'temp'"):
            model.astream("abc", temp=1)
        with pytest.raises(qrt.InputError, match="the prompt is empty"):
            await model.agenerate("")
        with pytest.raises(KeyError, match="mine"):
            await model.achat(MESSAGES, logits_processors=[broken])
        with pytest.raises(KeyError, match="mine"):
            async for _ in model.astream("abc", logits_processors=[broken]):
                pass

    asyncio.run(main())


def test_the_cancel_event_ends_it_too(model):
    cancel = threading.Event()
    cancel.set()
    answer = asyncio.run(model.agenerate("abc", cancel=cancel))
    assert (answer.finish_reason, answer.tokens) == ("cancelled", ())
