"""The engine in service: who goes first, whose time is up, what hangs, how it is, who leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import random
import threading
import time

import pytest
from fakes import PROMPT, alone, engine, executor, generation, start, together, tokens

import qrt
from qrt.api.awaiting import records
from qrt.errors import DeadlineError, FullError, InputError
from qrt.runtime.engine import Engine
from qrt.runtime.health import Pulse
from qrt.runtime.many import run_many
from qrt.runtime.policy import AHEAD_OF_LOOP, SHARED_CHUNKS, Limits
from qrt.runtime.watch import LOOKS, Stuck, Watch


def fed(run, prompt=PROMPT, **options):
    """The records of a generation, for the running loop."""

    def begin(is_stopped):
        stream = start(run, prompt, **options)
        stream._request.generation.stop_when(is_stopped)
        return stream

    return records(begin)


async def read(feed) -> list[int]:
    return [record.token async for record in feed]


def test_the_highest_priority_begins_first_and_the_oldest_among_equals():
    fake = executor(max_rows=2)  # one at a time
    run = Engine(fake, fake.groups, 128, Limits(2))
    priorities = [0, 0, 5, -1, 5, 0]
    requests = [start(run, [3 + i], priority=p, max_tokens=1) for i, p in enumerate(priorities)]
    for stream in requests:
        stream._request.wanted = 1
        run.submit(stream._request)
    while not all(stream._request.has_ended for stream in requests):
        run._round()
    assert [step[0][0] - 3 for step in fake.steps] == [2, 4, 0, 1, 5, 3]


def test_pages_are_taken_from_the_lowest_priority_and_nothing_is_lost():
    run = engine(256, n_pages=6, max_rows=32)
    going = [generation(run, [p], priority=p % 2, max_tokens=200) for p in range(3, 9)]
    results = run_many(run, going, 6)
    assert [[r.token for r in each] for each in results] == [
        alone([p], n_ctx=256, max_tokens=200) for p in range(3, 9)
    ]
    assert run.health().counts.n_preempted > 0
    run.check_integrity()


@pytest.mark.parametrize("in_loop", [False, True])
def test_time_that_is_up_before_the_first_token_is_an_error(in_loop):
    run = engine()
    begin = (
        (lambda: asyncio.run(read(fed(run, timeout=0)))) if in_loop else start(run, timeout=0).read
    )
    with pytest.raises(DeadlineError, match="before its first token") as caught:
        begin()
    assert caught.value.http_status == 504
    assert run.n_free_pages == run.n_pages
    for bad in (-1, "1", float("nan")):
        with pytest.raises(InputError, match="timeout"):
            start(run, timeout=bad)


def test_time_that_is_up_later_ends_the_answer_with_what_it_has():
    fake = executor()
    run = engine(1024, fake)
    fake.before_step = lambda: time.sleep(0.001)
    stream = start(run, timeout=0.6, max_tokens=900)
    read = list(stream)
    assert 1 < len(read) < 700
    assert read[-1].finish_reason == "length"
    assert [record.token for record in read] == alone(n_ctx=1024, max_tokens=900)[: len(read)]
    assert run.n_free_pages == run.n_pages


def test_a_reader_that_does_not_come_back_loses_its_place_when_its_time_is_up():
    run = engine(256)

    async def main():
        feed = fed(run, timeout=0.6, max_tokens=200)
        await anext(feed)
        while run.n_free_pages != run.n_pages:
            await asyncio.sleep(0.01)
        return await read(feed)

    assert len(asyncio.run(main())) == AHEAD_OF_LOOP


def test_who_is_refused_is_told_when_to_ask_again():
    fake = executor(max_rows=2)
    run = Engine(fake, fake.groups, 128, Limits(2, max_waiting=1))
    for _ in range(3):
        tokens(start(run, max_tokens=1))
    waiting = start(run)
    waiting._request.wanted = 1
    run.submit(waiting._request)
    with pytest.raises(FullError) as caught:
        tokens(start(run))
    assert 0 < caught.value.retry_after_s < 1


def test_health_tells_what_runs_and_what_was_done():
    fake = executor(n_pages=8, max_rows=64)
    run = engine(128, fake)
    stream = start(run, priority=2)
    next(stream)
    seen = []
    fake.before_step = lambda: seen.append(run.health())
    rest = tokens(stream)
    (one,) = seen[0].generations
    assert (one.priority, one.is_waiting, one.n_prompt_tokens, one.n_tokens) == (2, False, 20, 1)
    assert seen[0].step_s > 0
    assert (seen[0].n_running, seen[0].n_waiting, seen[0].is_stuck) == (1, 0, False)
    assert seen[0].n_free_pages == (7,)
    health = run.health()
    counts = health.counts
    assert health.generations == ()
    assert health.step_s == 0 < health.idle_s
    assert (counts.n_prompt_tokens, counts.n_tokens, counts.n_ended) == (20, 1 + len(rest), 1)
    assert (counts.n_steps, counts.n_rows) == (12, 31)
    assert counts.prompt_s > 0 < counts.answer_s
    assert health.to_dict()["counts"]["n_steps"] == 12


def test_a_function_that_hangs_is_ended_and_told_with_the_stack(caplog):
    fake = executor(max_rows=16)
    run = Engine(fake, fake.groups, 128, Limits(16, stuck_s=0.4))

    def hang_in_here(_ids, _logits):
        while True:
            sum(range(1000))

    async def main():
        hung = asyncio.create_task(read(fed(run, logits_processors=[hang_in_here])))
        with pytest.raises(DeadlineError, match=r"ran for more than 0.4 s"):
            await hung
        return await read(fed(run, [5]))

    with caplog.at_level(logging.ERROR, "qrt"):
        assert asyncio.run(main()) == alone([5])
    assert ["in hang_in_here" in message for message in caplog.messages].count(True) == 1
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_a_step_that_hangs_is_told_of_once(caplog):
    fake = executor()
    run = Engine(fake, fake.groups, 128, Limits(8, stuck_s=0.3))
    seen = []

    def hang_in_here():
        if len(fake.steps) == 5:
            time.sleep(0.8)
            seen.append(run.health().is_stuck)

    fake.before_step = hang_in_here
    with caplog.at_level(logging.ERROR, "qrt"):
        assert asyncio.run(read(fed(run))) == alone()
    assert ["in hang_in_here" in message for message in caplog.messages].count(True) == 1
    assert seen == [True]


def test_a_process_that_was_stopped_did_not_hang(caplog):
    pulse = Pulse()
    watch = Watch(pulse, 1e6, lambda: False)  # its own looks are far apart
    pulse.step_since = time.perf_counter() - 2e6
    pulse.hook = threading.get_ident(), pulse.step_since, None
    with caplog.at_level(logging.ERROR, "qrt"):
        for _ in range(LOOKS - 1):
            watch.look()
        assert caplog.messages == []
        with pytest.raises(Stuck):
            watch.look()
    assert len(caplog.messages) == 1
    watch.close()


def test_the_thread_ends_with_the_engine():
    for close in (True, False):
        before = set(threading.enumerate())
        run = engine()
        assert asyncio.run(read(fed(run))) == alone()
        mine = [t for t in threading.enumerate() if t not in before]
        assert sorted(t.name for t in mine) == ["qrt-engine", "qrt-watch"]
        if close:
            run.close()
        del run
        _end(mine)


def _end(mine):
    for thread in mine:
        thread.join(5)
        assert not thread.is_alive()


def child(run, queue):
    queue.put(asyncio.run(read(fed(run, [5]))))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_a_thread_of_its_own():
    run = engine(256)

    async def main():
        feed = fed(run, max_tokens=100)
        first = (await anext(feed)).token
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=_child_of_a_loop, args=(run, queue))
        process.start()
        rest = await read(feed)
        result = await asyncio.to_thread(queue.get, timeout=15)
        process.join(5)
        return [first, *rest], result

    mine, result = asyncio.run(main())
    assert mine == alone(n_ctx=256, max_tokens=100)
    assert result == alone([5])


def _child_of_a_loop(run, queue):
    """In a thread, since the loop of the parent still counts as running here."""
    thread = threading.Thread(target=child, args=(run, queue))
    thread.start()
    thread.join()


def test_feeds_of_several_loops_and_threads_that_read_share_steps():
    fake = executor(n_pages=64, max_rows=64)
    run = engine(512, fake)

    async def some(prompts):
        return await asyncio.gather(*[read(fed(run, [p], max_tokens=100)) for p in prompts])

    calls = [
        lambda: asyncio.run(some(range(3, 7))),
        lambda: asyncio.run(some(range(7, 11))),
        *[lambda p=p: tokens(start(run, [p], max_tokens=100)) for p in range(11, 15)],
    ]
    first, second, *others = together(calls)
    assert [*first, *second, *others] == [
        alone([p], n_ctx=512, max_tokens=100) for p in range(3, 15)
    ]
    assert len(fake.steps) < 1200 / 4
    assert run.n_free_pages == run.n_pages


def test_what_a_step_raises_that_no_generation_is_guilty_of_is_raised_to_the_tasks(monkeypatch):
    run = engine()

    def broken():
        raise ZeroDivisionError

    async def main():
        with monkeypatch.context() as patch:
            patch.setattr(run._scheduler, "round", broken)
            with pytest.raises(ZeroDivisionError):
                await read(fed(run))
        return await read(fed(run))

    assert asyncio.run(main()) == alone()
    assert run.n_free_pages == run.n_pages


def test_a_loop_that_was_closed_leaves_nothing_behind():
    run = engine(256)
    loop = asyncio.new_event_loop()
    feed = fed(run, max_tokens=200)
    loop.run_until_complete(anext(feed))
    loop.close()
    with contextlib.suppress(RuntimeError):
        feed.aclose().send(None)
    tokens(start(run, [5]))
    assert run.n_free_pages == run.n_pages


OPTIONS = {"max_tokens": 24, "seed": 7, "ignore_eos": True}


def test_those_that_leave_at_any_stage_free_their_pages_within_a_step_and_disturb_nobody():
    """500 of them, beside 8 that stay."""
    chance = random.Random(5)
    with qrt.load(n_ctx=256, n_threads=1) as model:
        engine = model._core.engine
        expected = [model.generate(f"def f{i}(", **OPTIONS).tokens for i in range(8)]
        alone_free = engine.n_free_pages

        async def leaves(i):
            stream = model.astream(f"class C{i}:\n" + "    x = 1\n" * (i % 20), **OPTIONS)
            task = asyncio.create_task(read(stream))
            await asyncio.sleep(chance.random() * 0.3)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        async def stays(i):
            return tuple(await read(model.astream(f"def f{i}(", **OPTIONS)))

        async def some(n):
            for _ in range(n):
                await leaves(chance.randrange(1000))

        async def main():
            gone = asyncio.gather(*[some(25) for _ in range(20)])
            while not gone.done():
                assert await asyncio.gather(*[stays(i) for i in range(8)]) == expected
            await gone
            return engine.n_free_pages

        assert asyncio.run(main()) == alone_free == engine.n_pages
        engine.check_integrity()
        assert engine.health().generations == ()


def test_the_knobs_of_a_load_reach_the_engine():
    with qrt.load(n_ctx=128, latency="low", max_running=3, max_waiting=5, stuck_s=2) as model:
        limits = model._core.engine.limits
        assert (limits.shared_chunk, limits.max_running) == (SHARED_CHUNKS["low"], 3)
        assert (limits.max_waiting, limits.stuck_s) == (5, 2)
    with pytest.raises(InputError, match="latency must be one of low, balanced, throughput"):
        qrt.load(latency="lowest")
