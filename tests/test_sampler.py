"""The sampler: each step against a plain reference, the chain, its determinism, its limits."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qrt.errors import InputError, QrtError
from qrt.runtime.rng import philox, uniform
from qrt.runtime.sampler import Sampler, SamplingParams, breaker_table, cut, dry
from qrt.runtime.sampler.candidates import Candidates, largest, softmax
from qrt.runtime.sampler.draw import Mirostat, draw, dynamic_temperature
from qrt.runtime.sampler.penalties import penalize

LOGITS = np.log(np.array([0.4, 0.05, 0.3, 0.15, 0.1], dtype=np.float32))
OFF = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}


def candidates(logits) -> Candidates:
    logits = np.asarray(logits, dtype=np.float32)
    return Candidates(np.arange(logits.size), logits, ranked=False)


def ids(c: Candidates) -> list[int]:
    return c.ids.tolist()


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0,) * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, words):
    assert " ".join(f"{word:08x}" for word in philox(counter, key)) == words


def test_uniform_fills_the_unit_interval_and_differs_by_every_argument():
    draws = [uniform(7, position, 0) for position in range(4000)]
    assert min(draws) >= 0
    assert max(draws) < 1
    assert abs(np.mean(draws) - 0.5) < 0.02
    assert len({uniform(s, p, k) for s in (0, 2**40) for p in (0, 2**33) for k in (0, 1)}) == 8


@settings(max_examples=50)
@given(
    arrays(np.float32, st.integers(1, 700), elements=st.integers(-9, 9).map(float)),
    st.integers(1, 800),
)
def test_largest_is_a_stable_sort_with_ties_by_lowest_id(logits, k):
    expected = sorted(range(logits.size), key=lambda i: (-logits[i], i))[:k]
    assert largest(logits, k).tolist() == expected


def test_cutting_steps():
    c = candidates(LOGITS)
    assert ids(cut.top_k(c, 3)) == [0, 2, 3]
    assert ids(cut.top_p(c, 0.69, 0)) == [0, 2]
    assert ids(cut.top_p(c, 0.71, 0)) == [0, 2, 3]
    assert ids(cut.top_p(c, 0.1, 4)) == [0, 2, 3, 4]
    assert ids(cut.min_p(c, 0.3, 0)) == [0, 2, 3]
    assert ids(cut.min_p(c, 0.9, 2)) == [0, 2]
    assert ids(cut.xtc(c, 0.12, 0)) == [3, 4, 1]
    assert ids(cut.xtc(c, 0.12, 4)) == [0, 2, 3, 4, 1]
    assert ids(cut.xtc(c, 0.35, 0)) == [0, 2, 3, 4, 1]
    assert ids(cut.top_n_sigma(candidates([0, 0, 0, 10]), 1.0)) == [3]


def test_typical_keeps_what_is_nearest_the_entropy():
    probs = softmax(LOGITS)
    distance = np.abs(-np.log(probs) - np.sum(-probs * np.log(probs)))
    nearest = np.argsort(distance)
    kept = ids(cut.typical(candidates(LOGITS), float(probs[nearest[0]]) + 0.01, 0))
    assert sorted(kept) == sorted(nearest[:2].tolist())


@settings(max_examples=50)
@given(arrays(np.float32, 3000, elements=st.floats(-8, 8, width=32)), st.floats(0.01, 0.99))
def test_top_p_of_a_large_vocabulary_equals_sorting_it(logits, p):
    order = np.argsort(-logits, kind="stable")
    sums = np.cumsum(np.exp((logits - logits.max())[order].astype(np.float64)))
    n = int(np.argmax(sums / sums[-1] >= p)) + 1
    kept = ids(cut.top_p(candidates(logits), p, 0))
    assert abs(len(kept) - n) <= 1  # the running sum may round the other way at the border
    assert kept == order[: len(kept)].tolist()


def test_penalties():
    logits = np.array([2.0, -2.0, 1.0, 1.0], dtype=np.float32)
    params = SamplingParams(repeat_penalty=2.0, frequency_penalty=0.25, presence_penalty=0.5)
    penalize(logits, params, [0, 0, 1])
    assert logits.tolist() == [2 / 2 - 2 * 0.25 - 0.5, -2 * 2 - 0.25 - 0.5, 1.0, 1.0]
    logits = np.ones(4, dtype=np.float32)
    penalize(logits, SamplingParams(presence_penalty=1.0, repeat_last_n=1), [0, 1])
    assert logits.tolist() == [1, 0, 1, 1]


def naive_dry(history, allowed, breakers):
    """Longest run before each earlier token that equals the newest tokens, by definition."""
    longest = {}
    for i in range(1, len(history)):
        length = 0
        while (
            length < i
            and history[i - 1 - length] == history[-1 - length]
            and history[-1 - length] not in breakers
        ):
            length += 1
        if length >= allowed and history[i] not in breakers:
            longest[history[i]] = max(longest.get(history[i], 0), length)
    return longest


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 4))
def test_dry_penalizes_what_prolongs_a_repetition(history, allowed):
    logits = np.zeros(4, dtype=np.float32)
    params = SamplingParams(
        dry_multiplier=0.5, dry_base=1.5, dry_allowed_length=allowed, dry_penalty_last_n=-1
    )
    dry.dry(logits, params, history, {3: [()]})
    expected = np.zeros(4)
    for token, length in naive_dry(history, allowed, {3}).items():
        expected[token] -= 0.5 * 1.5 ** (length - allowed)
    np.testing.assert_allclose(logits, expected, rtol=1e-6)


def test_breakers_that_begin_inside_a_token():
    pieces = ["a", "xa", "b", "ab", "c"]
    table = breaker_table(pieces, lambda text: [pieces.index(c) for c in text], ["abc"])
    assert table == {0: [(2, 4)], 1: [(2, 4)], 3: [(4,)]}
    history = [2, 0, 2, 4, 2, 0, 2, 4]  # "b abc b abc": the break lies 3 tokens back
    logits = np.zeros(5, dtype=np.float32)
    dry.dry(logits, SamplingParams(dry_multiplier=1.0, dry_allowed_length=1), history, table)
    assert not logits.any()


def test_dynamic_temperature_follows_the_entropy():
    flat, sharp = candidates(np.zeros(8)), candidates([90.0] + [0.0] * 7)
    assert dynamic_temperature(flat, 1.0, 0.4, 1.0) == pytest.approx(1.4)
    assert dynamic_temperature(sharp, 1.0, 0.4, 1.0) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("temperature", "spread", "exponent", "expected"),
    [
        (0.0, 0.5, 1.0, 0.43254888),
        (-0.25, 0.5, 1.0, 0.21627444),
        (0.0, 2.0, 0.5, 1.8602127),
        (0.8, 0.5, 2.0, 1.048394),
    ],
)
def test_dynamic_temperature_is_that_of_llama_cpp(temperature, spread, exponent, expected):
    got = dynamic_temperature(candidates(LOGITS), temperature, spread, exponent)
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("temperature", "spread", "tokens"),
    [(0.0, 2.0, 5), (-1.0, 2.0, 5), (0.0, 0.0, 1), (-2.0, 1.0, 1)],
)
def test_temperature_zero_moves_with_the_entropy_too(temperature, spread, tokens):
    params = SamplingParams(temperature=temperature, dynatemp_range=spread, **OFF)
    sampler = Sampler(params, 5, 1)
    assert len({sampler.sample(LOGITS, i, [])[0] for i in range(200)}) == tokens


def test_draw_gives_each_candidate_its_share():
    c = candidates(LOGITS)
    shares = np.bincount([draw(c, (i + 0.5) / 1000) for i in range(1000)]) / 1000
    np.testing.assert_allclose(shares, np.exp(LOGITS), atol=0.002)


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_reaches_the_surprise_asked_for(version):
    logits = (-1.2 * np.log(np.arange(1, 2001))).astype(np.float32)  # a Zipf law
    mirostat = Mirostat(version, 3.0, 0.1, 2000)
    mus = []
    for i in range(600):
        mirostat.draw(candidates(logits), uniform(1, i, 0))
        mus.append(mirostat.mu)
    surprise = 3.0 - np.diff(mus) / 0.1  # each draw moved mu by eta times what it missed tau by
    assert abs(surprise[100:].mean() - 3.0) < 0.1
    assert surprise.std() > 0.5


def test_mirostat_survives_one_candidate_and_equal_logits():
    for version in (1, 2):
        mirostat = Mirostat(version, 5.0, 0.1, 10)
        assert mirostat.draw(candidates([1.0]), 0.5)[1] == 0
        assert 0 <= mirostat.draw(candidates(np.zeros(10)), 0.99)[1] < 10


def test_greedy_takes_the_lowest_id_of_the_largest():
    sampler = Sampler(SamplingParams(temperature=0), 4, seed=1)
    logits = np.array([0, 2, 2, 1], dtype=np.float32)
    token, logprob = sampler.sample(logits, 0, [])
    assert token == 1
    assert logprob == pytest.approx(2 - math.log(np.exp(logits).sum()))
    penalized = Sampler(SamplingParams(temperature=-1, presence_penalty=1.5), 4, seed=1)
    assert penalized.sample(logits, 0, [1])[0] == 2


def test_a_temperature_just_above_zero_takes_the_largest():
    sampler = Sampler(SamplingParams(temperature=5e-324), 4, seed=1)
    assert {sampler.sample(np.float32([0, 30, 31, 1]), i, [])[0] for i in range(20)} == {2}


def test_a_draw_depends_on_seed_and_position_alone():
    logits = np.zeros(50, dtype=np.float32)
    params = SamplingParams(**OFF)
    forward = [Sampler(params, 50, 9).sample(logits, i, [])[0] for i in range(30)]
    sampler = Sampler(params, 50, 9)
    backward = [sampler.sample(logits, i, [])[0] for i in reversed(range(30))]
    assert forward == backward[::-1]
    assert forward != [Sampler(params, 50, 10).sample(logits, i, [])[0] for i in range(30)]
    assert not logits.any()


def test_the_default_chain_draws_from_the_distribution_it_promises():
    sampler = Sampler(SamplingParams(temperature=1.0, **OFF), 5, seed=3)
    tokens = [sampler.sample(LOGITS, i, [])[0] for i in range(3000)]
    np.testing.assert_allclose(np.bincount(tokens) / 3000, np.exp(LOGITS), atol=0.03)
    nucleus = Sampler(SamplingParams(top_p=0.6), 5, seed=3)
    assert {nucleus.sample(LOGITS, i, [])[0] for i in range(200)} == {0, 2}
    xtc = Sampler(SamplingParams(xtc_probability=0.5, xtc_threshold=0.2), 5, seed=3)
    counts = np.bincount([xtc.sample(LOGITS, i, [])[0] for i in range(2000)], minlength=5)
    assert 0.15 < counts[0] / 2000 < 0.3  # about half of 0.4 / 0.85 ** 1.25


def test_logit_bias_and_banned_tokens():
    logits = np.zeros(4, dtype=np.float32)
    params = SamplingParams(logit_bias={2: 100.0, 0: -math.inf})
    assert Sampler(params, 4, 1).sample(logits, 0, [])[0] == 2
    sampler = Sampler(SamplingParams(**OFF), 4, 1, banned=[0, 2])
    assert {sampler.sample(logits, i, [])[0] for i in range(100)} == {1, 3}
    with pytest.raises(QrtError, match="forbids every one"):
        Sampler(params, 4, 1, banned=range(4)).sample(logits, 0, [])
    with pytest.raises(InputError, match=r"names token 4; .* 0 to 3"):
        Sampler(SamplingParams(logit_bias={4: 1.0}), 4, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error(bad):
    logits = np.zeros(4, dtype=np.float32)
    logits[2] = bad
    with pytest.raises(QrtError, match=r"not finite .* for token 2"):
        Sampler(SamplingParams(), 4, 1).sample(logits, 0, [])


NUMBERS = [f.name for f in fields(SamplingParams) if f.type in ("int", "float")]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", [True, None, "1", math.nan, math.inf, -1e9, 1e12])
def test_every_number_is_checked(name, bad):
    with pytest.raises(InputError, match=name):
        SamplingParams(**{name: bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"logit_bias": {-1: 1.0}},
        {"logit_bias": {2**31: 1.0}},
        {"logit_bias": {True: 1.0}},
        {"logit_bias": {"1": 1.0}},
        {"logit_bias": {1: math.nan}},
        {"logit_bias": {1: math.inf}},
        {"logit_bias": [1]},
        {"dry_sequence_breakers": "abc"},
        {"dry_sequence_breakers": ("",)},
        {"dry_sequence_breakers": ("x",) * 65},
        {"dry_sequence_breakers": (1,)},
    ],
)
def test_tables_are_checked(bad):
    with pytest.raises(InputError):
        SamplingParams(**bad)


def test_defaults_are_those_of_llama_cpp():
    p = SamplingParams()
    assert (p.temperature, p.top_k, p.top_p, p.min_p, p.typical_p) == (0.8, 40, 0.95, 0.05, 1.0)
    assert (p.repeat_penalty, p.repeat_last_n, p.top_n_sigma) == (1.0, 64, -1.0)
    assert (p.dry_multiplier, p.dry_base, p.dry_allowed_length) == (0.0, 1.75, 2)
    assert (p.xtc_probability, p.xtc_threshold, p.mirostat_tau, p.mirostat_eta) == (0, 0.1, 5, 0.1)


def test_every_step_leaves_a_token_that_was_there():
    rng = np.random.default_rng(5)
    for _ in range(200):
        n = int(rng.choice([1, 2, 300, 5000]))
        logits = (rng.standard_normal(n) * rng.choice([0.1, 1, 30])).astype(np.float32)
        params = SamplingParams(
            top_k=int(rng.choice([0, 1, 40])),
            top_p=float(rng.choice([0.0, 0.5, 1.0])),
            min_p=float(rng.choice([0.0, 1.0, 0.1])),
            typical_p=float(rng.choice([0.0, 0.3, 1.0])),
            top_n_sigma=float(rng.choice([-1.0, 0.5])),
            xtc_probability=float(rng.choice([0.0, 1.0])),
            dynatemp_range=float(rng.choice([0.0, 2.0])),
            mirostat=int(rng.choice([0, 0, 1, 2])),
            min_keep=int(rng.choice([0, 3])),
        )
        token, logprob = Sampler(params, n, 1).sample(logits, 0, [])
        assert 0 <= token < n
        assert logprob <= 1e-5
