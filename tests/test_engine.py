"""The engine: one sequence at a time, errors, interrupts, and who ends when."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
from fakes import (
    GROUPS,
    N_VOCAB,
    PLAIN,
    PROMPT,
    alone,
    engine,
    executor,
    start,
    together,
    tokens,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from qrt.errors import BackendError, BusyError, ClosedError, FullError, NonFiniteError
from qrt.graph.batch import PAGE_LEN
from qrt.runtime.engine import Engine
from qrt.runtime.policy import Limits
from qrt.runtime.pool import Pool
from qrt.runtime.sampler import Sampler
from qrt.runtime.steps import Rows, last_rows


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from([PLAIN, GROUPS]))
def test_any_chunks_and_neighbours_give_the_same_logits(data, groups):
    whole = (np.arange(150) % N_VOCAB).tolist()
    expected = engine(256, max_rows=150, groups=groups)
    expected = expected.append(expected.open(), whole, n_logits=150)
    run = engine(256, max_rows=64, groups=groups)
    a, b = run.open(), run.open()
    while len(a) < 150:
        at, n = len(a), data.draw(st.integers(1, 150 - len(a)))
        n_logits = 1
        if n == 1:
            one = last_rows(1, 1)
            logits = run.step([Rows(b, [5], one), Rows(a, whole[at : at + 1], one)])[1:]
        else:
            chunk, n_logits = data.draw(st.integers(1, 64)), data.draw(st.integers(0, n))
            logits = run.append(a, whole[at : at + n], n_logits=n_logits, chunk=chunk)
        assert np.array_equal(logits, expected[at + n - n_logits : at + n])
        run.check_integrity()


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_a_sequence_computes_only_what_is_new(groups):
    fake = executor(groups=groups)
    run = engine(128, fake)
    seq = run.open(idle=True)
    first = tokens(start(run, seq=seq))
    fake.steps.clear()
    longer = [*PROMPT, *first, 5, 6]
    stream = start(run, longer, seq=seq)
    reused = tokens(stream)
    assert fake.steps[0] == [[first[-1], 5, 6]]  # the last token had no step yet
    assert stream.timings.n_cached_tokens == len(PROMPT) + 11
    assert reused == alone(longer, groups=groups)
    fake.steps.clear()
    other = [*PROMPT, 9]
    again = start(run, other, seq=seq)
    assert tokens(again) == alone(other, groups=groups)
    assert again.timings.n_cached_tokens == len(PROMPT)  # a state is kept there
    run.check_integrity()


def test_the_end_of_a_prompt_is_kept_as_a_state():
    run = engine(1024, n_pages=32, max_rows=64, groups=GROUPS)
    seq = run.open(idle=True)
    prompt = PROMPT * 5
    tokens(start(run, prompt, seq=seq, max_tokens=300))
    stream = start(run, [*prompt, 5], seq=seq)
    assert tokens(stream) == alone([*prompt, 5], n_ctx=1024, groups=GROUPS)
    assert stream.timings.n_cached_tokens == 0  # the window went on
    run = engine(1024, n_pages=32, max_rows=64, groups=GROUPS[2:])
    seq = run.open(idle=True)
    tokens(start(run, prompt, seq=seq, max_tokens=300))
    stream = start(run, [*prompt, 5], seq=seq)
    assert tokens(stream) == alone([*prompt, 5], n_ctx=1024, groups=GROUPS[2:])
    assert stream.timings.n_cached_tokens == len(prompt)


def test_idle_sequences_and_streams_without_a_reader_give_way():
    run = engine(128, n_pages=3)
    idle = run.open(idle=True)
    tokens(start(run, PROMPT * 4, seq=idle))
    assert len(idle) > PAGE_LEN
    paused = start(run, PROMPT * 4)
    first = next(paused).token
    assert len(idle) == 0
    assert tokens(start(run, PROMPT * 4)) == alone(PROMPT * 4)
    assert [first, *tokens(paused)] == alone(PROMPT * 4)
    assert tokens(start(run, seq=idle)) == alone()
    run.check_integrity()


def test_a_sequence_that_is_held_does_not_give_way():
    run = engine(128, n_pages=3)
    held = run.open()
    run.append(held, PROMPT * 4)
    with pytest.raises(BackendError, match="the KV cache is full: 1 pages of 64 positions needed"):
        tokens(start(run, PROMPT * 4))
    run.check_integrity()
    run.release(held)
    assert tokens(start(run, PROMPT * 4)) == alone(PROMPT * 4)


@pytest.mark.parametrize("at_step", [1, 2, 3, 5])
@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_an_interrupt_leaves_sequences_at_their_last_finished_step(at_step, groups):
    fake = executor(groups=groups)
    run = engine(128, fake)
    seq = run.open(idle=True)
    calls = []

    def interrupt():
        calls.append(1)
        if len(calls) == at_step:
            raise KeyboardInterrupt

    fake.before_step = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(start(run, seq=seq))
    run.check_integrity()
    assert seq.owner is None
    assert seq.tokens == [t for step in fake.steps for part in step for t in part]
    fake.before_step = None
    assert tokens(start(run, seq=seq)) == alone(groups=groups)


@pytest.mark.parametrize("method", ["alloc", "drop", "share"])
def test_an_interrupt_between_two_page_operations_loses_no_page(monkeypatch, method):
    run = engine(128, max_rows=64, groups=GROUPS)
    seq = run.open(idle=True)
    run.append(seq, PROMPT * 4)
    run.append(seq, [1] * 48)
    whole = getattr(Pool, method)
    with monkeypatch.context() as patch:

        def interrupted(pool, *args):
            whole(pool, *args)
            raise KeyboardInterrupt

        patch.setattr(Pool, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(start(run, [7] * 100, seq=seq))
    assert tokens(start(run, [7] * 100, seq=seq)) == alone([7] * 100, groups=GROUPS)
    run.append(run.open(), PROMPT * 5)
    run.release(seq)
    run.check_integrity()


@pytest.mark.parametrize("where", ["step", "sample"])
@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_an_interrupt_of_the_leader_harms_nobody_else(monkeypatch, where, groups):
    fake = executor(max_rows=16, groups=groups)
    run, results, sample = engine(128, fake), {}, Sampler.sample
    others = [
        threading.Thread(target=lambda p=p: results.update({p: start(run, [p, 5]).read()}))
        for p in range(3, 6)
    ]

    def interrupted(*args):
        """In the step of all four, or between two samples of it."""
        if threading.current_thread() is threading.main_thread() and len(fake.steps) >= 3:
            raise KeyboardInterrupt
        return sample(*args) if args else None

    def wait():
        if not fake.steps:
            for thread in others:
                thread.start()
            while len(run._scheduler._live) < 4:
                pass
        if where == "step":
            interrupted()

    fake.before_step = wait
    mine = start(run, max_tokens=100)
    with monkeypatch.context() as patch:
        if where == "sample":
            patch.setattr(Sampler, "sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mine.read()
        for thread in others:
            thread.join(10)
    for p in range(3, 6):
        assert [record.token for record in results[p]] == alone([p, 5], groups=groups)
    assert max(len(step) for step in fake.steps) == 4
    unread = tokens(mine)
    assert 0 < len(unread) < 5
    assert unread == alone(groups=groups, max_tokens=100)[: len(unread)]
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_a_token_that_is_interrupted_is_sampled_and_decoded_again(monkeypatch):
    run = engine()
    stream = start(run)
    records = [next(stream) for _ in range(3)]
    generation = stream._request.generation
    with monkeypatch.context() as patch:

        def interrupted(*_):
            raise KeyboardInterrupt

        patch.setattr(type(generation), "_is_full", interrupted)
        stream._request.wanted = 4
        with pytest.raises(KeyboardInterrupt):
            run._scheduler.round()
    run._scheduler.settle()
    run.check_integrity()
    records += stream
    assert [record.token for record in records] == alone()
    assert [r.text for r in records] == [r.text for r in start(engine())]


def test_an_error_in_one_generation_hits_that_one_alone(monkeypatch):
    run, sample = engine(max_rows=16), Sampler.sample

    def bad(sampler, logits, position, history):
        if history[0] == 4 and position == 5:
            raise ZeroDivisionError
        return sample(sampler, logits, position, history)

    monkeypatch.setattr(Sampler, "sample", bad)
    results = together([lambda p=p: tokens(start(run, [p, 5])) for p in range(3, 7)])
    assert isinstance(results.pop(1), ZeroDivisionError)
    assert results == [alone([p, 5]) for p in (3, 5, 6)]
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_a_step_that_fails_is_run_again_one_by_one_and_the_guilty_one_fails():
    fake = executor(max_rows=16, groups=GROUPS)
    run, step = engine(128, fake), fake.step

    def failing(batch):
        logits = step(batch)
        if any(29 in part.tokens for part in batch.segments):
            raise NonFiniteError("layer 0")
        return logits

    fake.step = failing
    streams = [start(run, [p, 5], logit_bias={29: 100 if p == 4 else -100}) for p in range(3, 7)]
    results = together([lambda s=s: tokens(s) for s in streams])
    assert isinstance(results.pop(1), NonFiniteError)
    assert results == [
        alone([p, 5], groups=GROUPS, logit_bias={29: -100}) for p in (3, 5, 6)
    ]
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_a_session_runs_one_generation_at_a_time():
    run = engine()
    seq = run.open(idle=True)
    stream, other = start(run, seq=seq), start(run, seq=seq)
    next(stream)
    with pytest.raises(BusyError, match="still generating"):
        next(other)
    assert len(list(stream)) == 11
    assert len(tokens(other)) == 12


def test_a_stream_has_one_reader():
    fake = executor()
    stream = start(engine(128, fake))
    fake.before_step = lambda: pytest.raises(BusyError, next, stream)
    assert tokens(stream) == alone()


def test_more_generations_than_may_wait_are_refused_and_may_ask_again():
    fake = executor(max_rows=2)
    run = Engine(fake, fake.groups, 128, Limits(2, max_waiting=1))
    inside, go = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go.wait(5)

    fake.before_step = wait
    threads = [threading.Thread(target=start(run).read) for _ in range(2)]
    threads[0].start()
    assert inside.wait(5)
    threads[1].start()
    while not run._scheduler._waiting:
        pass
    threading.Event().wait(0.05)
    third = start(run)
    with pytest.raises(FullError, match="1 generations wait already"):
        next(third)
    go.set()
    for thread in threads:
        thread.join(5)
    assert tokens(third) == alone()


def test_releasing_a_sequence_ends_the_generation_on_it():
    run = engine()
    seq = run.open(idle=True)
    stream = start(run, seq=seq)
    next(stream)
    run.release(seq)
    run.check_integrity()
    for _ in range(2):
        with pytest.raises(ClosedError, match="the session is closed"):
            next(stream)
    with pytest.raises(ClosedError, match="the session is closed"):
        next(start(run, seq=seq))
    assert run.n_free_pages == run.n_pages


@pytest.mark.parametrize("when", ["in a step", "between"])
def test_closing_the_engine_stops_what_runs_and_refuses_more(when):
    fake = executor()
    run = engine(1024, fake)
    inside = threading.Event()

    def wait():
        inside.set()
        if when == "in a step":
            assert fake.cancelled.wait(5)

    fake.before_step = wait
    errors = []

    def read():
        with pytest.raises(ClosedError, match="the model (was|is) closed") as caught:
            start(run, max_tokens=900).read()
        errors.append(caught)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.wait(5)
    run.close()
    run.close()
    for thread in threads:
        thread.join(5)
    assert len(errors) == 3
    assert fake.closed
    with pytest.raises(ClosedError, match="the model is closed"):
        list(start(run))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a signal in the step")
def test_closing_from_a_signal_handler_in_a_step_ends_after_it():
    fake = executor()
    run = engine(128, fake)
    fake.before_step = lambda: signal.raise_signal(signal.SIGUSR1)
    before = signal.signal(signal.SIGUSR1, lambda *_: run.close())
    try:
        with pytest.raises(ClosedError, match="closed while it was generating"):
            tokens(start(run))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert fake.closed


def test_handles_may_be_collected_at_any_time():
    run = engine(n_pages=64)
    stop = threading.Event()

    def drop():
        while not stop.is_set():
            seq = run.open(idle=True)
            run.release_with(stream := start(run), seq)
            next(stream)
            del stream
            gc.collect(0)

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        for _ in range(30):
            assert tokens(start(run, PROMPT * 5)) == alone(PROMPT * 5)
            run.check_integrity()
    finally:
        stop.set()
        thread.join(5)
    assert run.n_free_pages == run.n_pages


def child(run, stream, first, busy, queue):
    rest = tokens(stream)
    run.check_integrity()
    try:
        gone = next(busy)
    except ClosedError as error:
        gone = str(error)
    queue.put(([first, *rest] == alone(), tokens(start(run)) == alone(), gone))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_goes_on_with_what_was_its_own():
    fake = executor(n_pages=64, groups=PLAIN)
    run = engine(128, fake)
    stream, busy = start(run), start(run)
    first = next(stream).token
    inside, go = threading.Event(), threading.Event()

    def wait():
        if threading.current_thread() is thread:
            inside.set()
            assert go.wait(20)

    fake.before_step = wait
    thread = threading.Thread(target=busy.read)
    thread.start()
    assert inside.wait(5)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(run, stream, first, busy, queue))
    process.start()
    try:
        result = queue.get(timeout=15)
    finally:
        go.set()
        thread.join(5)
        process.join(5)
    assert result[:2] == (True, True)
    assert "parent process" in result[2]
    assert [first, *tokens(stream)] == alone()
