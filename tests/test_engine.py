"""The engine: one sequence at a time, errors, interrupts, and who ends when."""

from __future__ import annotations

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

from qrt.errors import BackendError, NonFiniteError
from qrt.graph.batch import PAGE_LEN
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
    assert stream.timings.n_cached_tokens == PAGE_LEN  # the window went on, a page is stored
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
    other = PROMPT[::-1] * 4
    paused = start(run, other)
    first = next(paused).token
    assert len(idle) == 0
    assert tokens(start(run, PROMPT * 4)) == alone(PROMPT * 4)
    assert [first, *tokens(paused)] == alone(other)
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


@pytest.mark.parametrize("method", ["alloc", "drop", "share", "keep"])
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
    run, results, draw = engine(128, fake), {}, Sampler.draw
    others = [
        threading.Thread(target=lambda p=p: results.update({p: start(run, [p, 5]).read()}))
        for p in range(3, 6)
    ]

    def interrupted(*args):
        """In the step of all four, or between two samples of it."""
        if threading.current_thread() is threading.main_thread() and len(fake.steps) >= 3:
            raise KeyboardInterrupt
        return draw(*args) if args else None

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
            patch.setattr(Sampler, "draw", interrupted)
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
    run, draw = engine(max_rows=16), Sampler.draw

    def bad(sampler, row, position, history):
        if history[0] == 4 and position == 5:
            raise ZeroDivisionError
        return draw(sampler, row, position, history)

    monkeypatch.setattr(Sampler, "draw", bad)
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
    assert results == [alone([p, 5], groups=GROUPS, logit_bias={29: -100}) for p in (3, 5, 6)]
    run.check_integrity()
    assert run.n_free_pages == run.n_pages
