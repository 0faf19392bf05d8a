"""Generation: its limits, ends, options and records, over a fake model."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from fakes import (
    EOS,
    GROUPS,
    N_VOCAB,
    PLAIN,
    PROMPT,
    FakeTokenizer,
    alone,
    engine,
    spell,
    start,
    tokens,
)
from hypothesis import given
from hypothesis import strategies as st

from qrt.errors import ContextFullError, InputError
from qrt.runtime.options import GenerateOptions, options_from
from qrt.runtime.stops import StopStrings


def test_context_limit():
    run = engine(30)
    with pytest.raises(ContextFullError, match="the prompt has 30 tokens, the context holds 30"):
        start(run, [5] * 30)
    records = list(start(run, PROMPT, max_tokens=None))
    assert len(records) == 10
    assert records[-1].finish_reason == "length"
    seq = run.open()
    with pytest.raises(ContextFullError, match="31 tokens do not fit the context of 30"):
        run.append(seq, [5] * 31)


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
def test_context_shift_drops_the_oldest_half_behind_what_is_kept(groups):
    run = engine(30, groups=groups)
    seq = run.open(idle=True)
    stream = start(run, seq=seq, context_shift=True, n_keep=4, max_tokens=40)
    history = PROMPT + tokens(stream)
    assert len(history) == 60
    kept = history[:4]
    # Full at 30 positions: 13 of the 26 behind the kept ones go, and so on.
    expected = kept + history[4:30][13:]
    for token in history[30:59]:
        if len(expected) == 30:
            expected = kept + expected[4:][13:]
        expected.append(token)
    assert seq.tokens == expected
    run.check_integrity()
    with pytest.raises(InputError, match="n_keep must be between 0 and 15"):
        start(run, context_shift=True, n_keep=16)


def test_the_same_seed_gives_the_same_tokens_and_a_fresh_one_is_named():
    first = alone()
    assert alone() == first
    assert alone(seed=2) != first
    stream = start(engine(), seed=None)
    drawn = tokens(stream)
    assert alone(seed=stream.seed) == drawn


def test_records_and_timings():
    records = list(start(engine(), temperature=0))
    assert all(r.finish_reason is None and r.timings is None for r in records[:-1])
    assert all(r.logprob <= 0 for r in records)
    last = records[-1]
    assert last.finish_reason == "length"
    timings = last.timings
    assert (timings.n_prompt_tokens, timings.n_cached_tokens, timings.n_tokens) == (20, 0, 12)
    assert timings.ttft_s > 0
    assert timings.prefill_tok_s > 0
    assert timings.gb_s == pytest.approx(timings.decode_tok_s * 1000 / 1e9)


def answer(text, **options):
    run = engine(script=spell(text, len(PROMPT)))
    records = list(start(run, **{"max_tokens": 64, "ignore_eos": False, **options}))
    return "".join(r.text for r in records), records


def test_an_end_token_ends_the_answer_and_shows_nothing():
    text, records = answer("the end")
    assert text == "the end"
    assert records[-1].finish_reason == "stop"
    assert records[-1].token == EOS
    assert len(answer("the end", ignore_eos=True)[1]) == 64
    text, records = answer("the end", stop_tokens=[FakeTokenizer().tokenize("n")[1]])
    assert (text, records[-1].finish_reason) == ("the e", "stop")


@pytest.mark.parametrize(
    ("stop", "shown", "found"),
    [
        ("bcd", "xa", "bcd"),  # inside "abc" and across "abc", "de"
        (["zz", "e f"], "xabcd", "e f"),
        ("fgh", "xabcde f", ""),  # only its start comes up
        (["d", "cde"], "xabc", "d"),  # complete first counts
        ("x", "", "x"),
    ],
)
def test_stop_strings_across_tokens(stop, shown, found):
    text, records = answer("xabcde f", stop=stop)
    assert text == shown
    assert (records[-1].finish_reason, records[-1].stop_string) == ("stop", found)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stop_strings_do_not_depend_on_where_the_text_is_cut(text, strings):
    def run(pieces):
        stops, shown = StopStrings(strings), ""
        for piece in pieces:
            more, found = stops.push(piece)
            shown += more
            if found:
                return shown, True
        return shown + stops.flush(), False

    whole, letters = run([text]), run(list(text))
    assert whole == letters
    assert whole[1] == any(s in text for s in strings)
    assert text.startswith(whole[0])


def test_cancel_ends_between_steps_and_frees_the_pages():
    run, cancel = engine(), threading.Event()
    stream = start(run, cancel=cancel)
    next(stream)
    cancel.set()
    assert list(stream) == []
    assert run.n_free_pages == (16,)
    assert list(start(run, cancel=cancel)) == []
    run.check_integrity()


def test_closing_a_stream_early_frees_the_pages():
    run = engine()
    with start(run) as stream:
        next(stream)
        assert run.n_free_pages < (16,)
    assert run.n_free_pages == (16,)
    stream = start(run)
    next(stream)
    del stream
    assert run.n_free_pages == (16,)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "the prompt is empty"),
        ([-1], r"prompt\[0\] must be between 0 and"),
        ([3, N_VOCAB], r"prompt\[1\] must be between 0 and"),
        ([2**31], "prompt"),
        ([2**63], "prompt"),
        ([True], "must be an integer"),
        ([1.0], "must be an integer"),
    ],
)
def test_prompts_are_checked(prompt, message):
    with pytest.raises(InputError, match=message):
        start(engine(), prompt)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 2**31},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"seed": -1},
        {"seed": 2**64},
        {"stop": ""},
        {"stop": [1]},
        {"stop": 3},
        {"stop": ["x" * 257]},
        {"stop": ["x"] * 17},
        {"stop_tokens": [N_VOCAB]},
        {"stop_tokens": [-1]},
        {"stop_tokens": 5},
        {"logit_bias": {N_VOCAB: 1.0}},
        {"ignore_eos": 1},
        {"context_shift": None},
        {"n_keep": -1},
        {"cancel": True},
        {"temperature": "hot"},
    ],
)
def test_options_are_checked(bad):
    with pytest.raises(InputError):
        start(engine(), **bad)


def test_an_unknown_option_names_the_one_that_was_meant():
    with pytest.raises(InputError, match="unknown option 'temprature'; did you mean 'temperature'"):
        options_from({"temprature": 1.0})


def test_defaults():
    assert GenerateOptions() == options_from({})


def test_random_numbers_go_on_over_a_shift():
    flat = np.zeros(N_VOCAB, dtype=np.float32)
    run = engine(24, script=lambda _: flat)
    drawn = tokens(start(run, max_tokens=60, context_shift=True))
    assert all(a != b for a, b in pairwise(drawn[i : i + 12] for i in range(0, 60, 12)))
