"""Generations that run at the same time give what each gives alone."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from fakes import (
    GROUPS,
    N_VOCAB,
    PLAIN,
    PROMPT,
    alone,
    engine,
    executor,
    generation,
    start,
    together,
    tokens,
)

import qrt
from qrt.errors import InputError
from qrt.runtime.engine import Engine
from qrt.runtime.many import run_many
from qrt.runtime.policy import AHEAD, Limits

PROMPTS = ["def open(", "What does os.path.join do?", "import", "class Queue:\n    ", "x" * 70, "a"]
OPTIONS = {"max_tokens": 24, "seed": 7, "temperature": 0.9}


@pytest.fixture(scope="module")
def model():
    with qrt.load(n_ctx=256, n_threads=2) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def each_alone(model: qrt.Model) -> list[qrt.Completion]:
    return [model.generate(prompt, **OPTIONS) for prompt in PROMPTS]


def assert_same(one: qrt.Completion, other: qrt.Completion) -> None:
    assert (one.text, one.tokens, one.logprobs) == (other.text, other.tokens, other.logprobs)
    assert one.finish_reason == other.finish_reason
    assert one.n_prompt_tokens == other.n_prompt_tokens


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_each_is_as_alone_bit_for_bit(model, each_alone, batch_size: int) -> None:
    results = model.generate_many(PROMPTS, batch_size=batch_size, **OPTIONS)
    for one, other in zip(each_alone, results, strict=True):
        assert_same(one, other)
    assert len({c.text for c in results}) > 1


def test_threads_that_generate_and_iterate_share_steps(model, each_alone) -> None:
    engine = model._core.engine
    calls = [lambda p=p: model.generate(p, **OPTIONS) for p in PROMPTS]
    calls += [lambda p=p: tuple(r.token for r in model.stream(p, **OPTIONS)) for p in PROMPTS]
    results = together(calls)
    for one, other, iterated in zip(each_alone, results[:6], results[6:], strict=True):
        assert_same(one, other)
        assert iterated == one.tokens
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages


def test_a_forked_session_gives_what_two_conversations_give(model) -> None:
    with model.session() as one:
        first = one.generate("import os\n", **OPTIONS)
        text = "import os\n" + first.text
        with one.fork() as two:
            branches = [
                (one, text + "def "),
                (two, text + "class "),
                (one, text + "x"),
                (two, text),
            ]
            for session, prompt in branches:
                completion = session.generate(prompt, **OPTIONS)
                assert completion.timings.n_cached_tokens > 0
                assert_same(completion, model.generate(prompt, **OPTIONS))
    model._core.engine.check_integrity()
    assert model._core.engine.n_free_pages == model._core.engine.n_pages


def test_those_that_end_make_room(model: qrt.Model) -> None:
    prompts = [[model.tokenize("def ")[0]] * n for n in range(1, 10)]
    results = model.generate_many(prompts, batch_size=2, max_tokens=3, ignore_eos=True, seed=1)
    assert [r.n_prompt_tokens for r in results] == list(range(1, 10))
    assert all(len(r.tokens) == 3 and r.finish_reason == "length" for r in results)
    assert model.generate_many([], max_tokens=3) == []


def test_a_bad_prompt_or_a_stop_leaves_nothing_behind(model: qrt.Model) -> None:
    with pytest.raises(InputError):
        model.generate_many(["fine", ""], max_tokens=2)
    with pytest.raises(InputError, match="batch_size"):
        model.generate_many(["fine"], batch_size=0)
    stop = threading.Event()
    stop.set()
    results = model.generate_many(["a", "b"], cancel=stop)
    assert [r.finish_reason for r in results] == ["cancelled", "cancelled"]
    engine = model._core.engine
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_ten_times_more_is_asked_for_than_there_are_pages(groups) -> None:
    fake = executor(n_pages=12, max_rows=128, groups=groups)
    run = engine(512, fake)
    prompts = [[3 + i % 30, 4 + i // 30] * (1 + i) for i in range(64)]
    results = run_many(run, [generation(run, p, max_tokens=150) for p in prompts], 64)
    for prompt, records in zip(prompts, results, strict=True):
        assert [r.token for r in records] == alone(prompt, n_ctx=512, groups=groups, max_tokens=150)
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_all_that_have_room_run_whatever_they_may_come_to_need() -> None:
    fake = executor(n_pages=40, max_rows=64)
    run = engine(512, fake)
    results = run_many(run, [generation(run, [p], max_tokens=None) for p in range(3, 19)], 16)
    assert max(len(step) for step in fake.steps) == 16
    assert [[r.token for r in records] for records in results] == [
        alone([p], n_ctx=512, max_tokens=None) for p in range(3, 19)
    ]


def test_pages_that_other_streams_hold_are_seen_and_nothing_is_lost() -> None:
    run = engine(256, n_pages=6, max_rows=32)
    stream = start(run, max_tokens=200)
    shown = [next(stream).token for _ in range(50)]
    session = run.open(idle=True)
    tokens(start(run, PROMPT, seq=session, max_tokens=100))
    results = run_many(run, [generation(run, [p], max_tokens=200) for p in range(3, 9)], 6)
    assert [[r.token for r in records] for records in results] == [
        alone([p], n_ctx=256, max_tokens=200) for p in range(3, 9)
    ]
    assert shown + tokens(stream) == alone(n_ctx=256, max_tokens=200)
    run.check_integrity()


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_nobody_waits_longer_than_a_chunk_while_a_long_prompt_is_computed(groups) -> None:
    fake = executor(n_pages=80, max_rows=64, groups=groups)
    run = Engine(fake, groups, 1024, Limits(64, shared_chunk=32))
    prompts = [[p, 5] for p in range(3, 11)]
    long = [(i * 7) % N_VOCAB for i in range(600)]
    going = [generation(run, p, max_tokens=60) for p in prompts]
    arrived = threading.Thread(target=lambda: results.append(start(run, long).read()))
    results: list[list[qrt.TokenRecord]] = []

    def arrive() -> None:
        if len(fake.steps) == 10:
            arrived.start()
            while len(run._scheduler._live) < 9:
                pass

    fake.before_step = arrive
    records = run_many(run, going, 8)
    arrived.join(10)
    assert [[r.token for r in each] for each in records] == [
        alone(p, n_ctx=1024, groups=groups, max_tokens=60) for p in prompts
    ]
    assert [r.token for r in results[0]] == alone(long, n_ctx=1024, groups=groups)
    beside = [step for step in fake.steps[10:] if len(step) > 8]
    assert len(beside) >= 600 // 32
    for step in beside:  # all eight go on in every step, beside at most a chunk
        assert sorted(len(part) for part in step)[:8] == [1] * 8
        assert max(len(part) for part in step) <= 32


def test_a_stream_is_computed_ahead_beside_others_and_not_alone() -> None:
    fake = executor()
    run = engine(128, fake)
    stream = start(run)
    next(stream)
    assert len(fake.steps) == 3  # of 8 rows each
    threading.Thread(target=start(run, [5]).read).start()
    while len(run._scheduler._live) > 1:
        pass
    assert len(stream._request.generation.records) == 1 + AHEAD
    first = len(fake.steps)
    rest = tokens(stream)
    assert [*alone()[:1], *rest] == alone()
    assert len(fake.steps) == first + 12 - 1 - AHEAD


def test_streams_read_one_by_one_fall_into_step() -> None:
    fake = executor(max_rows=64, n_pages=64)
    run = engine(512, fake)
    results = together([lambda p=p: tokens(start(run, [p], max_tokens=100)) for p in range(3, 19)])
    assert results == [alone([p], n_ctx=512, max_tokens=100) for p in range(3, 19)]
    together_steps = [len(step) for step in fake.steps]
    assert sum(together_steps) == 16 * 100
    assert all(a > 0 for a, _ in pairwise(together_steps))


def test_a_cancelled_one_leaves_the_others() -> None:
    run, cancel = engine(256, max_rows=64), threading.Event()
    stream = start(run, max_tokens=200, cancel=cancel)
    next(stream)

    def stop() -> list[qrt.TokenRecord]:
        cancel.set()
        return []

    results = together([
        lambda: start(run, [5], max_tokens=100).read(),
        lambda: list(stream),
        stop,
    ])  # fmt: skip
    assert len(results[0]) == 100
    assert len(results[1]) < 199
    assert list(stream) == []
    run.check_integrity()
    assert run.n_free_pages == run.n_pages
