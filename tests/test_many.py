"""Generations decoded together give what each gives alone."""

from __future__ import annotations

import threading

import pytest
from fakes import PROMPT, executor, generation, start, tokens

import qrt
from qrt.errors import InputError
from qrt.runtime.engine import Engine
from qrt.runtime.many import run_many

PROMPTS = ["def open(", "What does os.path.join do?", "import", "class Queue:\n    ", "x" * 70, "a"]


@pytest.fixture(scope="module")
def model():
    with qrt.load(n_ctx=256, n_threads=2) as loaded:
        yield loaded


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_each_is_as_alone_bit_for_bit(model: qrt.Model, batch_size: int) -> None:
    options = {"max_tokens": 24, "seed": 7, "temperature": 0.9}
    alone = [model.generate(prompt, **options) for prompt in PROMPTS]
    together = model.generate_many(PROMPTS, batch_size=batch_size, **options)
    for one, other in zip(alone, together, strict=True):
        assert (one.text, one.tokens, one.logprobs) == (other.text, other.tokens, other.logprobs)
        assert (one.finish_reason, one.n_prompt_tokens) == (
            other.finish_reason,
            other.n_prompt_tokens,
        )
    assert len({c.text for c in together}) > 1


def test_those_that_end_make_room(model: qrt.Model) -> None:
    prompts = [[model.tokenize("def ")[0]] * n for n in range(1, 10)]
    results = model.generate_many(prompts, batch_size=2, max_tokens=3, ignore_eos=True, seed=1)
    assert [r.n_prompt_tokens for r in results] == list(range(1, 10))
    assert all(len(r.tokens) == 3 and r.finish_reason == "length" for r in results)
    assert model.generate_many([], max_tokens=3) == []


def test_steps_are_shared_and_pages_freed() -> None:
    fake = executor()
    engine = Engine(fake, 64)
    prompts = [PROMPT, PROMPT[:5], PROMPT[3:]]
    records = run_many(engine, [generation(engine, p) for p in prompts], 8)
    alone = Engine(executor(), 64)
    assert [[r.token for r in each] for each in records] == [
        tokens(start(alone, prompt)) for prompt in prompts
    ]
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages


def test_no_more_than_the_pages_can_hold() -> None:
    engine = Engine(executor(n_pages=2), 128)
    records = run_many(engine, [generation(engine, PROMPT, max_tokens=100) for _ in range(3)], 8)
    assert [len(each) for each in records] == [100, 100, 100]
    engine.check_integrity()


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
