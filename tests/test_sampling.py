"""Rows that are sampled together from lists of a few give what each gives alone from all logits."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import N_VOCAB, PROMPT, engine, generation, start, tokens

from qrt.backends.base import PlainRows, Survey, norm
from qrt.errors import InputError, QrtError
from qrt.runtime.request import Request
from qrt.runtime.sampling import Taker, prepare

SETTINGS = [
    {},
    {"temperature": 0},
    {"top_k": 1},
    {"top_k": 5, "min_p": 0.2, "min_keep": 2},
    {"top_k": 0},
    {"top_k": 2000},
    {"samplers": ("min_p", "top_k", "temperature")},
    {"samplers": ("top_k", "penalties", "temperature"), "repeat_penalty": 1.5},
    {"repeat_penalty": 1.3, "presence_penalty": -0.5, "repeat_last_n": -1},
    {"dry_multiplier": 2.0, "dry_allowed_length": 1},
    {"logit_bias": {5: 3.0, 6: -np.inf, 7: -3.0}, "temperature": 0},
    {"top_n_sigma": 1.0},
    {"mirostat": 2},
    {"xtc_probability": 1.0, "xtc_threshold": 0.05, "top_k": 10},
    {"logprobs": 7},
    {"logprobs": 7, "top_k": 0, "frequency_penalty": 0.5},
    {"logits_processors": [lambda ids, logits: logits * np.float32(len(ids) % 3 - 1)]},
]


class Lists(PlainRows):
    """Makes the lists that an executor may make: at least what was asked for, sometimes none."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def survey(self, rows, wanted):
        return [self._of(row, k) for row, k in zip(rows, wanted, strict=True)]

    def _of(self, row, wanted):
        if not wanted or self.rng.random() < 0.1:
            return Survey(norm(row))
        floor = np.sort(row)[::-1][min(wanted + self.rng.integers(9), row.size) - 1]
        ids = np.flatnonzero((row >= floor) & (row > -np.inf))
        return Survey(norm(row), ids, row[ids])


class Even:
    """A constraint that allows the even tokens."""

    is_complete = False

    def mask(self):
        bits = np.arange(-(-N_VOCAB // 32) * 32) % 2 == 0
        return np.packbits(bits, bitorder="little").view(np.uint32)

    def forced(self):
        return []

    def accept(self, token):
        assert token % 2 == 0


class Few(Even):
    """A constraint that allows four tokens."""

    def mask(self):
        return np.where(np.arange(super().mask().size) < 2, super().mask() & 0x101, 0).astype("u4")


class Short(Even):
    """Its masks lack a word."""

    def mask(self):
        return super().mask()[:1]


def logits(seed):
    """Some of them equal."""
    return np.round(np.random.default_rng(seed).normal(0, 2, N_VOCAB), 1).astype(np.float32)


def taken(executor, going, rows):
    """Runs a step's sampling; each row is as it was."""
    takers = [Taker(Request(one), row.copy()) for one, row in zip(going, rows, strict=True)]
    prepare(executor, takers, lambda _, call: call())
    for taker, row in zip(takers, rows, strict=True):
        taker.request.generation.take(taker.row, 0.0)
        np.testing.assert_array_equal(taker.logits, row)


@pytest.mark.parametrize("most_listed", [256, 12])
@pytest.mark.parametrize("constraint", [None, Even, Few])
def test_lists_change_no_token_and_no_probability(constraint, most_listed, monkeypatch):
    for name in ("qrt.runtime.sampling", "qrt.runtime.sampler.row"):
        monkeypatch.setattr(f"{name}.MOST_LISTED", most_listed)
    options = [{**each, "seed": 9, "constraint": constraint, "max_tokens": 90} for each in SETTINGS]
    together = [generation(engine(), **each) for each in options]
    alone = [generation(engine(), **each) for each in options]
    for step in range(60):
        rows = [logits(100 * step + i) for i in range(len(options))]
        taken(Lists(step), together, rows)
        for each, one, row in zip(options, alone, rows, strict=True):
            position, mask = len(one.history), one.mask()
            if "mirostat" not in each:  # which remembers each draw
                expected = one.sampler.sample(row, position, one.history, mask)
            taken(PlainRows(), [one], [row])
            record = one.records[-1]
            assert "mirostat" in each or (record.token, record.logprob) == expected
    for one, other in zip(together, alone, strict=True):
        assert one.records == other.records


def test_more_logprobs_than_are_listed_are_those_of_all_logits(monkeypatch):
    for name in ("qrt.runtime.sampling", "qrt.runtime.sampler.row"):
        monkeypatch.setattr(f"{name}.MOST_LISTED", 12)
    for many in (
        {"logprobs": 20, "top_k": 3},
        {"logprobs": 2, "top_k": 20},
        {"logprobs": 2, "top_k": 9, "presence_penalty": 1.0},
        {"logprobs": 2, "top_k": 20, "constraint": Even},
    ):
        options = {"min_p": 0.0, "top_p": 1.0, "temperature": 3.0, **many}
        one, other = (generation(engine(), **options) for _ in range(2))
        for step in range(9):
            taken(Lists(step), [one], [logits(step)])
            taken(PlainRows(), [other], [logits(step)])
        assert one.records == other.records
        assert len(one.records[0].top_logprobs) == many["logprobs"]


def test_only_rows_that_cannot_be_drawn_from_fail():
    bad = logits(1)
    bad[3] = np.nan
    going = [
        generation(engine()),
        generation(engine()),
        generation(engine(), logit_bias=dict.fromkeys(range(N_VOCAB), -np.inf)),
        generation(engine(), constraint=Short),
        generation(engine()),
    ]
    rows = [logits(0), bad, *map(logits, (2, 3, 4))]
    takers = [Taker(Request(one), row) for one, row in zip(going, rows, strict=True)]

    def attempt(taker, call):
        try:
            call()
        except Exception as error:
            taker.failed = error

    prepare(Lists(0), takers, attempt)
    for taker in takers:
        if taker.failed is None:
            attempt(taker, lambda t=taker: t.request.generation.take(t.row, 0.0))
    assert [type(taker.failed) for taker in takers] == [
        type(None), QrtError, QrtError, InputError, type(None)
    ]  # fmt: skip
    assert "not finite (nan for token 3)" in str(takers[1].failed)
    assert "forbids every one" in str(takers[2].failed)
    assert "a mask has 2 words" in str(takers[3].failed)


def test_what_fails_is_raised_to_its_own_reader():
    run = engine()
    with pytest.raises(InputError, match="a mask has 2 words"):
        tokens(start(run, constraint=Short))
    assert len(tokens(start(run, PROMPT))) == 12
