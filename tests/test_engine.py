"""Pages and the engine, over a fake model that hashes every token it can see."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fakes import N_VOCAB, PROMPT, executor, start, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from qrt.errors import BackendError, InputError
from qrt.graph.batch import PAGE_LEN
from qrt.runtime.engine import Engine
from qrt.runtime.kv import PagePool, pages_for


def test_pool_keeps_every_page_and_refuses_more():
    pool = PagePool(5)
    first, second = pool.alloc(2), pool.alloc(3)
    pool.check_integrity(first + second)
    with pytest.raises(BackendError, match="1 pages of 64 positions needed, 0 of 5 free"):
        pool.alloc(1)
    pool.free(first)
    assert pool.alloc(2) == first
    pool.recount(second)
    pool.check_integrity(second)
    with pytest.raises(AssertionError):
        pool.check_integrity([])


@pytest.mark.parametrize(("n", "pages"), [(0, 0), (1, 1), (PAGE_LEN, 1), (PAGE_LEN + 1, 2)])
def test_pages_for(n, pages):
    assert pages_for(n) == pages


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_chunks_and_neighbours_give_the_same_logits(data):
    whole = np.arange(150) % N_VOCAB
    expected = Engine(executor(max_rows=150), 256)
    expected = expected.prefill(expected.open(), whole.tolist(), n_logits=150)
    engine = Engine(executor(max_rows=64), 256)
    a, b = engine.open(), engine.open()
    while len(a) < 150:
        n = data.draw(st.integers(1, 150 - len(a)))
        rows = whole[len(a) : len(a) + n].tolist()
        at = len(a)
        n_logits = 1
        if n == 1:
            logits = engine.decode([(b, 5), (a, rows[0])])[1:]
        else:
            chunk = data.draw(st.integers(1, 64))
            n_logits = data.draw(st.integers(0, n))
            logits = engine.prefill(a, rows, n_logits=n_logits, chunk=chunk)
        assert np.array_equal(logits, expected[at + n - n_logits : at + n])
        engine.check_integrity()
    engine.release(a)
    engine.release(b)
    assert engine.n_free_pages == 16


def test_two_generations_in_turns_give_what_each_gives_alone():
    other = [7, 8, 9]
    alone = [tokens(start(Engine(executor(), 128), p)) for p in (PROMPT, other)]
    engine = Engine(executor(), 128)
    turns = [(a.token, b.token) for a, b in zip(start(engine), start(engine, other), strict=True)]
    assert [list(t) for t in zip(*turns, strict=True)] == alone
    assert engine.n_free_pages == 16


def test_generations_of_several_threads_give_what_each_gives_alone():
    prompts = [[n, n + 1] for n in range(3, 9)]
    alone = [tokens(start(Engine(executor(), 128), p)) for p in prompts]
    engine, results = Engine(executor(), 128), {}
    threads = [
        threading.Thread(target=lambda i=i: results.update({i: tokens(start(engine, prompts[i]))}))
        for i in range(len(prompts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[i] for i in range(len(prompts))] == alone
    engine.check_integrity()


def test_a_sequence_computes_only_what_is_new():
    fake = executor()
    engine = Engine(fake, 128)
    seq = engine.open()
    first = tokens(start(engine, seq=seq))
    fake.steps.clear()
    longer = [*PROMPT, *first, 5, 6]
    stream = start(engine, longer, seq=seq)
    reused = tokens(stream)
    assert fake.steps[0] == ("prefill", [first[-1], 5, 6])  # the last token had no step yet
    assert stream.timings.n_cached_tokens == len(PROMPT) + 11
    assert reused == tokens(start(Engine(executor(), 128), longer))
    fake.steps.clear()
    again = tokens(start(engine, PROMPT, seq=seq))
    assert fake.steps[0] == ("prefill", [PROMPT[-1]])
    assert again == first
    engine.check_integrity()


def test_an_idle_sequence_gives_way_and_a_busy_one_does_not():
    engine = Engine(executor(n_pages=3), 128)
    idle = engine.open()
    tokens(start(engine, PROMPT * 4, seq=idle))
    assert len(idle) > PAGE_LEN
    busy = start(engine, PROMPT * 4)
    next(busy)
    assert len(idle) == 0
    with pytest.raises(BackendError, match="the KV cache is full"):
        next(start(engine, PROMPT * 4))
    engine.check_integrity()
    assert len(tokens(busy)) == 11
    assert tokens(start(engine, seq=idle)) == tokens(start(Engine(executor(), 128)))


@pytest.mark.parametrize("at_step", [1, 2, 3, 5])
def test_an_interrupt_leaves_sequences_at_their_last_finished_step(at_step):
    fake = executor()
    engine = Engine(fake, 128)
    seq = engine.open()
    calls = []

    def interrupt():
        calls.append(1)
        if len(calls) == at_step:
            raise KeyboardInterrupt

    fake.before_step = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(start(engine, seq=seq))
    engine.check_integrity()
    assert seq.owner is None
    assert seq.tokens == [t for _, step in fake.steps for t in step]
    fake.before_step = None
    assert tokens(start(engine, seq=seq)) == tokens(start(Engine(executor(), 128)))


def test_an_interrupt_between_two_page_operations_loses_no_page(monkeypatch):
    engine = Engine(executor(), 128)
    alloc = PagePool.alloc

    def interrupted(pool, n):
        alloc(pool, n)
        raise KeyboardInterrupt

    monkeypatch.setattr(PagePool, "alloc", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.prefill(engine.open(), PROMPT)
    engine.check_integrity()


def test_a_page_lost_on_its_way_back_is_found_when_it_is_needed(monkeypatch):
    engine = Engine(executor(n_pages=2), 128)
    seq = engine.open()
    engine.prefill(seq, PROMPT)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(PagePool, "free", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.release(seq)
    assert engine.n_free_pages == 1
    other = engine.open()
    engine.prefill(other, PROMPT * 4)
    engine.check_integrity()


def test_the_pages_of_a_sequence_that_was_let_go_are_found_when_they_are_needed():
    engine = Engine(executor(n_pages=2), 128)
    engine.prefill(engine.open(), PROMPT)
    assert engine.n_free_pages == 1
    seq = engine.open()
    engine.prefill(seq, PROMPT * 4)
    engine.check_integrity()


def test_a_session_runs_one_generation_at_a_time():
    engine = Engine(executor(), 128)
    seq = engine.open()
    stream = start(engine, seq=seq)
    next(stream)
    with pytest.raises(InputError, match="still generating"):
        next(start(engine, seq=seq))
    assert len(list(stream)) == 11
    assert len(tokens(start(engine, seq=seq))) == 12


def test_closing_the_engine_stops_a_step_under_way_and_refuses_more():
    fake = executor()
    engine = Engine(fake, 128)
    inside = threading.Event()

    def wait():
        inside.set()
        assert fake.cancelled.wait(5)

    fake.before_step = wait
    errors = []

    def run():
        with pytest.raises(InputError, match="closed while it was generating") as caught:
            list(start(engine))
        errors.append(caught)

    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(5)
    engine.close()
    engine.close()
    thread.join(5)
    assert errors
    assert fake.closed
    with pytest.raises(InputError, match="the model is closed"):
        list(start(engine))
