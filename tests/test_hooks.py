"""Functions of the caller's in a generation, and what a record tells of the tokens not taken."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fakes import together

import qrt

PROMPT = [5, 6, 7]
GREEDY = {"max_tokens": 6, "temperature": 0, "ignore_eos": True}


def test_a_processor_sees_what_the_model_said_and_decides(model):
    seen = []

    def forbid(ids, logits):
        seen.append((ids, logits.copy()))
        logits[logits.argmax()] = -np.inf
        return logits

    answer = model.generate(PROMPT, logits_processors=[forbid], logprobs=1, **GREEDY)
    rows = model.logits([*PROMPT, *answer.tokens])[2:-1]
    assert [top[0][0] for top in answer.top_logprobs] == rows.argmax(axis=1).tolist()
    assert [ids for ids, _ in seen] == [[*PROMPT, *answer.tokens[:i]] for i in range(6)]
    for (_, logits), row, token, logprob in zip(
        seen, rows, answer.tokens, answer.logprobs, strict=True
    ):
        np.testing.assert_allclose(logits, row, atol=1e-4)
        allowed = np.delete(np.argsort(-row, kind="stable"), 0)
        assert token == next(t for t in allowed if t not in model.tokenizer.eog_ids)
        assert logprob < 0


def test_processors_run_in_turn_and_one_that_changes_nothing_changes_nothing(model):
    plain = model.generate(PROMPT, max_tokens=8, seed=3)
    same = model.generate(PROMPT, max_tokens=8, seed=3, logits_processors=[lambda _, x: x])
    assert (same.tokens, same.logprobs) == (plain.tokens, plain.logprobs)

    def only(token):
        return lambda _, x: np.where(np.arange(x.size) == token, 0.0, -np.inf)

    last = model.generate(PROMPT, logits_processors=[lambda _, x: x * 0, only(9)], **GREEDY)
    assert last.tokens == (9,) * 6


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, r"logits_processors\[0\] must return logits, an array of 128 numbers, got None"),
        (np.zeros(127, np.float32), "array of 128 numbers"),
        (np.array(["a"] * 128), "array of 128 numbers"),
        (np.full(128, np.nan, np.float32), "NaN or inf"),
        (np.full(128, 1e300), "NaN or inf"),
        (np.full(128, -np.inf, np.float32), "no token may be chosen"),
    ],
)
def test_what_a_processor_returns_is_checked(model, result, message):
    with pytest.raises(qrt.QrtError, match=message):
        model.generate(PROMPT, logits_processors=[lambda *_: result], **GREEDY)


def test_a_criterion_ends_the_answer(model):
    calls = []

    def at_three(ids, text):
        calls.append((ids, text))
        return len(text) == 3

    whole = model.generate(PROMPT, **GREEDY)
    answer = model.generate(PROMPT, stopping=[lambda *_: False, at_three], **GREEDY)
    assert (answer.text, answer.finish_reason) == (whole.text[:3], "stop")
    assert calls == [([*PROMPT, *whole.tokens[: i + 1]], whole.text[: i + 1]) for i in range(3)]


def raising(error):
    def hook(ids, *_):
        if len(ids) > 5:
            raise error
        return _[0]

    return hook


@pytest.mark.parametrize("name", ["logits_processors", "stopping", "before", "behind"])
@pytest.mark.parametrize("error", [KeyError("mine"), StopIteration(), KeyboardInterrupt()])
def test_an_error_in_a_hook_reaches_the_caller_and_leaves_the_engine_whole(model, name, error):
    engine = model._core.engine
    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    fails = raising(error)
    hooks = {
        "logits_processors": {"logits_processors": [fails]},
        "stopping": {"stopping": [lambda *a: fails(*a) is None]},
        "before": {"on_prompt": lambda told: fails([0] * (9 - told.n_done), 0)},
        "behind": {"on_prompt": lambda told: fails([0] * (3 + told.n_done), 0)},
    }
    with model.session() as session:
        stream = session.stream(PROMPT, **hooks[name], **GREEDY)
        with pytest.raises(expected):
            list(stream)
        after = session.generate(PROMPT, **GREEDY)
        assert after.tokens == model.generate(PROMPT, **GREEDY).tokens
        engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages


def test_hooks_of_threads_that_share_steps_keep_to_their_own(model):
    plain = model.generate([5, 6], **GREEDY)
    seen = [[] for _ in range(4)]

    def watch(i):
        def processor(ids, logits):
            seen[i].append(tuple(ids[: i + 1]))
            return logits

        return processor

    def work(i):
        return model.generate([5 + i] * (i + 1), logits_processors=[watch(i)], **GREEDY)

    calls = [lambda i=i: work(i) for i in range(4)]
    bad = lambda: model.generate([9], logits_processors=[raising(OSError("mine"))], **GREEDY)  # noqa: E731
    *_, failed, untouched = together([*calls, bad, lambda: model.generate([5, 6], **GREEDY)])
    assert isinstance(failed, OSError)
    assert untouched.tokens == plain.tokens
    assert seen == [[(5 + i,) * (i + 1)] * 6 for i in range(4)]
    model._core.engine.check_integrity()


def test_a_hook_that_calls_its_model_is_told_so(model):
    def again(_ids, logits):
        model.generate([5])
        return logits

    with pytest.raises(qrt.BusyError, match="in a step of this thread"):
        model.generate(PROMPT, logits_processors=[again], **GREEDY)


def test_the_likeliest_tokens_are_those_of_the_logits(model):
    answer = model.generate(PROMPT, logprobs=3, max_tokens=5, seed=2)
    rows = model.logits([*PROMPT, *answer.tokens])[2:-1].astype(np.float64)
    logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    assert len(answer.top_logprobs) == 5
    for top, row in zip(answer.top_logprobs, logprobs, strict=True):
        assert [token for token, _ in top] == np.argsort(-row, kind="stable")[:3].tolist()
        np.testing.assert_allclose([value for _, value in top], np.sort(row)[:-4:-1], atol=1e-3)
    for record in model.stream(PROMPT, logprobs=128, **GREEDY):
        assert record.top_logprobs[0] == (record.token, record.logprob)
        assert len(record.top_logprobs) == 128
        assert all(a[1] >= b[1] for a, b in itertools.pairwise(record.top_logprobs))
    assert model.generate(PROMPT, **GREEDY).top_logprobs == ()
