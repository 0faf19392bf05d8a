"""Who may read, wait, release, close and fork when, and what ends then."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading

import pytest
from fakes import GROUPS, PLAIN, PROMPT, alone, engine, executor, start, together, tokens

from qrt.errors import BusyError, CancelledError, ClosedError, FullError
from qrt.runtime.engine import Engine
from qrt.runtime.policy import Limits


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

    def read_again():
        with pytest.raises(BusyError, match="another thread is reading"):
            next(stream)

    fake.before_step = read_again
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


def test_closing_a_stream_that_another_thread_reads_tells_that_thread():
    fake = executor()
    inside, go = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go.wait(5)

    fake.before_step = wait
    run = engine(1024, fake)
    stream, caught = start(run, max_tokens=900), []

    def read():
        with pytest.raises(CancelledError, match="closed while it was read") as error:
            stream.read()
        caught.append(error.value.http_status)

    reader = threading.Thread(target=read)
    reader.start()
    assert inside.wait(5)
    closer = threading.Thread(target=stream.close)
    closer.start()
    go.set()
    for thread in (reader, closer):
        thread.join(5)
    assert caught == [499]
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
        with pytest.raises(ClosedError, match="the model is closed") as caught:
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
        with pytest.raises(ClosedError, match="the model is closed"):
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


def test_generations_begin_and_end_in_many_threads_at_once():
    run = engine(n_pages=64, max_rows=32, groups=GROUPS)
    expected = {p: alone([p, 5], groups=GROUPS, max_tokens=3) for p in range(3, 11)}

    def work(p: int) -> bool:
        return all(tokens(start(run, [p, 5], max_tokens=3)) == expected[p] for _ in range(40))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert together([lambda p=p: work(p) for p in expected]) == [True] * 8
    finally:
        sys.setswitchinterval(before)
    run.check_integrity()
    assert run.n_free_pages == run.n_pages
