"""What is stored of a prompt serves every later one that begins alike, and changes no token."""

from __future__ import annotations

import random
import threading

import pytest
from fakes import GROUPS, N_VOCAB, PLAIN, alone, executor, generation, start, together, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from test_toys import MODELS, ON_CPU, prepared

from qrt.errors import InputError
from qrt.graph.batch import PAGE_LEN
from qrt.runtime.engine import Engine
from qrt.runtime.many import run_many
from qrt.runtime.pool import Pool, pages_for
from qrt.runtime.prefix_tree import MIN_SHARED, Tree, sha256

N_CTX = 1024
LONG = [3 + i * i % 30 for i in range(4 * PAGE_LEN + 20)]
"""A prompt of four pages and a part of one."""


def made(n_pages: int = 64, max_rows: int = 64, groups=PLAIN, digest=sha256, **kwargs):
    """An engine on a fake executor, and that executor."""
    fake = executor(n_pages=n_pages, max_rows=max_rows, groups=groups, **kwargs)
    return Engine(fake, fake.groups, N_CTX, prefixes=Tree(b"key", digest)), fake


def given_alone(prompt: list[int], groups=PLAIN, **options) -> list[int]:
    return alone(prompt, n_ctx=N_CTX, groups=groups, **options)


def rows(fake) -> int:
    """Rows computed since they were last counted."""
    n = sum(len(part) for step in fake.steps for part in step)
    fake.steps.clear()
    return n


def told(run: Engine, prompt: list[int], **options) -> tuple[list[int], int]:
    """The tokens of a generation, and how many of its prompt were stored."""
    stream = start(run, prompt, **options)
    return tokens(stream), stream.timings.n_cached_tokens


@pytest.mark.parametrize("groups", [PLAIN, GROUPS[:2], GROUPS[2:], GROUPS])
def test_a_prompt_that_begins_alike_is_computed_from_where_it_differs(groups):
    run, fake = made(groups=groups)
    told(run, LONG)
    for tail, at_least in (([], 3), ([5], 4), ([*range(3, 30)] * 3, 4)):
        prompt = [*LONG, *tail]
        rows(fake)
        got, n_cached = told(run, prompt)
        assert got == given_alone(prompt, groups)
        assert len(prompt) > n_cached >= at_least * PAGE_LEN
        assert rows(fake) == len(prompt) - n_cached + 11
        run.check_integrity()
    branch = LONG[: 2 * PAGE_LEN + 30] + [9] * 40
    got, n_cached = told(run, branch)
    assert got == given_alone(branch, groups)
    assert n_cached == (2 * PAGE_LEN if GROUPS[2] in groups else len(branch) - 40)
    got, n_cached = told(run, LONG)  # the branch was written to a page of its own
    assert got == given_alone(LONG, groups)
    assert n_cached >= 3 * PAGE_LEN
    assert run.n_free_pages == run.n_pages


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_an_agent_computes_only_what_is_new(groups):
    run, fake = made(n_pages=200, groups=groups)
    prompt, before = LONG, 0
    for turn in range(8):
        rows(fake)
        answer, n_cached = told(run, prompt, max_tokens=20)
        assert answer == given_alone(prompt, groups, max_tokens=20)
        if turn:
            assert before - MIN_SHARED < n_cached <= before
            assert rows(fake) == len(prompt) - n_cached + 19
        before = len(prompt) + 19  # the last token had no step
        prompt = [*prompt, *answer, *[turn + 3] * 25]
    run.check_integrity()


def test_a_session_takes_what_others_have_stored():
    run, fake = made()
    told(run, LONG)
    seq = run.open(idle=True)
    told(run, LONG[:70], seq=seq)
    rows(fake)
    got, n_cached = told(run, [*LONG, 4], seq=seq)
    assert got == given_alone([*LONG, 4])
    assert n_cached == len(LONG)
    run.check_integrity()
    run.release(seq)
    assert run.n_free_pages == run.n_pages


def test_only_what_is_asked_for_is_shared():
    run, _ = made()
    told(run, LONG, cache_prompt=False)
    assert told(run, LONG, cache_salt="a")[1] == 0
    for salt in ("", "b", "aa"):
        assert told(run, LONG, cache_salt=salt)[1] == 0
    assert told(run, LONG, cache_salt="a")[1] == len(LONG) - 1
    assert told(run, LONG, cache_prompt=False)[1] == 0
    seq = run.open(idle=True)
    told(run, LONG, seq=seq, cache_salt="a")
    assert told(run, LONG, seq=seq, cache_salt="c")[1] == 0
    assert told(run, LONG, seq=seq, cache_salt="c")[1] == len(LONG) - 1
    run.drop_prefixes()
    assert told(run, LONG, cache_salt="a")[1] == 0
    run.check_integrity()
    for wrong in ({"cache_salt": 5}, {"cache_salt": "x" * 2000}, {"cache_prompt": 1}):
        with pytest.raises(InputError, match="cache_"):
            generation(run, **wrong)


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
@pytest.mark.parametrize("digest", [lambda _: b"same", lambda data: bytes([sum(data) % 3])])
def test_a_digest_that_collides_is_a_miss(digest, groups):
    run, _ = made(groups=groups, digest=digest)
    for seed in range(12):
        prompt = random.Random(seed % 5).choices(range(3, 9), k=200)
        assert told(run, prompt)[0] == given_alone(prompt, groups)
        prompt[70] += 1
        assert told(run, prompt)[0] == given_alone(prompt, groups)
        run.check_integrity()


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_prompts_that_arrive_together_are_computed_once(groups):
    run, fake = made(n_pages=200, max_rows=512, groups=groups)
    prompts = [[*LONG, 3 + i] for i in range(8)]
    results = run_many(run, [generation(run, prompt) for prompt in prompts], 8)
    want = [given_alone(prompt, groups) for prompt in prompts]
    assert [[r.token for r in records] for records in results] == want
    shared = 4 * PAGE_LEN
    assert rows(fake) == shared + 8 * (len(LONG) + 1 - shared + 11)


def test_those_that_run_share_their_pages():
    """Sixteen of five pages and a part in a pool of twenty: four pages are common to all."""
    run, fake = made(n_pages=24)
    told(run, LONG)
    prompts = [[*LONG, 3 + i] for i in range(16)]
    run_many(run, [generation(run, prompt) for prompt in prompts], 16)
    assert max(len(step) for step in fake.steps) == 16


def test_what_was_used_last_goes_last():
    run, _ = made(n_pages=16)
    first, second, third = ([i] * (5 * PAGE_LEN) for i in (3, 4, 5))
    for prompt in (first, second, third):
        told(run, prompt, max_tokens=1)
    assert told(run, first, max_tokens=1)[1] == len(first) - 1
    told(run, [6] * (5 * PAGE_LEN), max_tokens=1)
    assert told(run, first, max_tokens=1)[1] == len(first) - 1
    assert told(run, third, max_tokens=1)[1] == len(third) - 1
    assert told(run, second, max_tokens=1)[1] < PAGE_LEN
    run.check_integrity()


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_a_context_as_long_as_the_pool_goes_on_from_what_is_stored(groups):
    """Its last page would have to be copied, but there is none left to copy it to."""
    run, _ = made(n_pages=6, groups=groups)
    prompt = LONG + [5] * (6 * PAGE_LEN - len(LONG) - 40)
    assert told(run, prompt)[0] == given_alone(prompt, groups)
    longer = [*prompt, 7]
    assert told(run, longer, max_tokens=39)[0] == given_alone(longer, groups, max_tokens=39)
    run.check_integrity()


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_ten_times_more_is_asked_for_than_there_are_pages(groups):
    run, _ = made(n_pages=16, groups=groups)
    draw = random.Random(5)
    heads = [draw.choices(range(3, N_VOCAB), k=150) for _ in range(4)]
    prompts = [heads[i % 4][: draw.randrange(20, 150)] + [3 + i % 20] * (i % 50) for i in range(48)]
    assert sum(pages_for(len(prompt) + 70) for prompt in prompts) >= 10 * 16
    jobs = [lambda p=p: told(run, p, max_tokens=70) for p in prompts]
    for prompt, (got, _) in zip(prompts, together(jobs), strict=True):
        assert got == given_alone(prompt, groups, max_tokens=70)
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


@settings(max_examples=40)
@given(st.data(), st.sampled_from([PLAIN, GROUPS[:2], GROUPS[2:], GROUPS]))
def test_whatever_came_before_a_generation_gives_what_it_gives_alone(data, groups):
    """Sessions, salts, cuts, forks and streams that end early, in few pages."""
    run, _ = made(n_pages=20, groups=groups)
    heads = [[3] * 300, LONG, LONG[:130] + [4] * 100]
    sessions = [run.open(idle=True) for _ in range(2)]
    for _ in range(data.draw(st.integers(3, 10))):
        head = data.draw(st.sampled_from(heads))
        prompt = head[: data.draw(st.integers(1, len(head)))] + [5] * data.draw(st.integers(0, 20))
        options = {"cache_salt": data.draw(st.sampled_from(["", "s"])),
                   "cache_prompt": data.draw(st.integers(0, 5)) > 0,
                   "max_tokens": data.draw(st.sampled_from([1, 12, 80]))}  # fmt: skip
        seq = data.draw(st.sampled_from([None, *sessions]))
        stream = start(run, prompt, seq=seq, **options)
        want = given_alone(prompt, groups, **options)
        if data.draw(st.booleans()):
            assert tokens(stream) == want
        else:
            got = [next(stream).token]
            stream.close()
            assert got == want[:1]
        if seq is not None and data.draw(st.integers(0, 3)) == 0:
            sessions.remove(seq)
            sessions.append(run.fork(seq))
            run.release(seq)
        run.check_integrity()
    for seq in sessions:
        run.release(seq)
    assert run.n_free_pages == run.n_pages


@pytest.mark.parametrize("case", [(n, "reference") for n in MODELS] + [(n, "cpu") for n in ON_CPU])
def test_a_hit_gives_the_bits_of_a_miss(case):
    name, backend = case
    run = prepared(MODELS[name](), backend, 64, 128)
    prompt = [3 + i * 7 % 30 for i in range(300)]
    fresh = [tokens(start(run, prompt[:n], max_tokens=9, cache_prompt=False)) for n in (300, 210)]
    told(run, prompt[:256], max_tokens=30)
    for n, want in zip((300, 210), fresh, strict=True):
        got, n_cached = told(run, prompt[:n], max_tokens=9)
        assert got == want
        assert n_cached >= 2 * PAGE_LEN
    run.check_integrity()
    run.close()


@pytest.mark.parametrize("method", ["let_go", "keep", "drop"])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_interrupt_amid_pages_that_are_taken_back(monkeypatch, method, after):
    run, _ = made(n_pages=8, groups=GROUPS)
    told(run, LONG)
    whole, calls = getattr(Pool, method), []

    def interrupted(pool, *args):
        whole(pool, *args)
        calls.append(1)
        if len(calls) == after + 1:
            raise KeyboardInterrupt

    other = [7, 8] * 200
    with monkeypatch.context() as patch:
        patch.setattr(Pool, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            told(run, other)
    assert told(run, other)[0] == given_alone(other, GROUPS)
    run.check_integrity()
    assert told(run, LONG)[0] == given_alone(LONG, GROUPS)
    run.check_integrity()
    assert run.n_free_pages == run.n_pages


def test_a_stream_that_was_stopped_leaves_what_it_computed():
    run, fake = made()
    stop = threading.Event()

    def after_three() -> None:
        if len(fake.steps) == 3:
            stop.set()

    fake.before_step = after_three
    assert list(start(run, LONG, cancel=stop))[-1:] in ([], [None])
    fake.before_step = None
    assert told(run, LONG)[1] >= 3 * PAGE_LEN
