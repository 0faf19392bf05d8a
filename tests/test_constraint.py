"""A generation that is held to something: masks, forced tokens, and all else as without them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from fakes import EOS, GROUPS, N_VOCAB, PLAIN, PROMPT, engine, generation, start, together

from qrt.backends.base import Survey, norm
from qrt.errors import QrtError
from qrt.runtime.sampler import Row

LETTERS = range(3, 29)
PATTERN = [{7}, {8, 9}, {10}, {11}, {12}, set(LETTERS), {EOS, *LETTERS}, {13}] * 40


@dataclass
class Pattern:
    """Of each token a set to choose from; those of one are forced, if they are to be skipped."""

    skips: bool
    sets: list[set[int]] = field(default_factory=lambda: PATTERN)
    breaks_at: set[int] = field(default_factory=set)
    at: int = 0

    @property
    def is_complete(self):
        return self.at == len(self.sets)

    def mask(self):
        bits = np.zeros(-(-N_VOCAB // 32) * 32, np.uint8)
        bits[list(self.sets[self.at])] = 1
        return np.packbits(bits, bitorder="little").view(np.uint32)

    def forced(self):
        end = self.at
        while self.skips and end < len(self.sets) and len(self.sets[end]) == 1:
            end += 1
        return [token for one in self.sets[self.at : end] for token in one]

    def accept(self, token):
        assert token in self.sets[self.at]
        self.at += 1
        if self.at in self.breaks_at:
            self.breaks_at.remove(self.at)
            raise KeyboardInterrupt


def run(skips, groups=PLAIN, n_ctx=128, pattern=PATTERN, **options):
    """(tokens, texts put together, reason, steps)"""
    one = engine(n_ctx, groups=groups, n_pages=64)
    stream = start(one, constraint=lambda: Pattern(skips, pattern), **options)
    records = list(stream)
    one.check_integrity()
    text = "".join(record.text for record in records)
    return [r.token for r in records], text, records[-1].finish_reason, one._executor.steps


@pytest.mark.parametrize("groups", [PLAIN, GROUPS])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "length"),
        ({"max_tokens": 1}, "length"),
        ({"max_tokens": 11}, "length"),
        ({"max_tokens": None}, "length"),
        ({"ignore_eos": False, "logit_bias": {EOS: 50.0}}, "stop"),
        ({"max_tokens": 200, "context_shift": True}, "length"),
        ({"max_tokens": 200, "context_shift": True, "n_ctx": 24, "n_keep": 3}, "length"),
        ({"stop": "e", "pattern": [{7}, {8}, {9}]}, "stop"),
        ({"stop": "ij", "max_tokens": None}, "stop"),
        ({"stop": "i", "max_tokens": None, "stopping": [lambda ids, _: len(ids) == 23]}, "stop"),
        ({"stop_tokens": [11]}, "stop"),
        ({"pattern": [{7}, {8}]}, "stop"),
        ({"pattern": PATTERN[:11]}, "stop"),
        ({"pattern": [{7}] * 300, "max_tokens": None}, "length"),
        ({"pattern": [{7}, set(LETTERS), *[{5}] * 200], "max_tokens": None}, "length"),
    ],
)
def test_tokens_that_are_skipped_are_those_that_would_be_sampled(groups, options, reason):
    *skipped, fewer = run(True, groups, **options)
    *sampled, steps = run(False, groups, **options)
    assert skipped == sampled
    assert skipped[-1] == reason
    assert len(fewer) <= len(steps)


def test_forced_tokens_cost_no_step_of_their_own_and_come_with_the_prompt():
    given, _, _, steps = run(True, max_tokens=9, n_ctx=256)
    assert steps[-2:] == [[[given[1], 10, 11, 12]], [[given[5]]]]
    assert [token for (row,) in steps[:-2] for token in row] == [*PROMPT, 7]
    stream = start(engine(), constraint=lambda: Pattern(True), logprobs=2, max_tokens=9)
    records = list(stream)
    forced = [record.token for record in records if record.logprob == 0]
    assert forced == [7, 10, 11, 12, 13, 7]
    assert all(bool(record.top_logprobs) == (record.logprob < 0) for record in records)
    assert stream.timings.n_tokens == 9


def test_an_interrupt_while_a_token_is_taken_forgets_what_it_forced():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, N_VOCAB)).astype(np.float32)

    def answer(breaks_at):
        one = generation(engine(), constraint=lambda: Pattern(True, breaks_at=breaks_at))
        for row in rows:
            while not one.is_finished:
                try:
                    ready = Row(row, Survey(norm(row)))
                    ready.changed = one.sampler.changed(row, one.history, one.mask())
                    one.take(ready, 0)
                    break
                except KeyboardInterrupt:
                    one.mend()
        return [(record.token, record.text) for record in one.records]

    assert answer({2, 4, 5, 6, 10}) == answer(set())


def test_threads_that_give_way_to_each_other_are_held_each_to_its_own():
    expected = run(True, max_tokens=60)[0]
    crowded = engine(128, n_pages=5)

    def one(i):
        stream = start(crowded, constraint=lambda: Pattern(i % 2 == 0), max_tokens=60)
        return [record.token for record in stream]

    assert together([lambda i=i: one(i) for i in range(6)]) == [expected] * 6
    crowded.check_integrity()


def test_a_bias_cannot_allow_what_the_constraint_forbids():
    given, *_ = run(True, logit_bias={20: 100.0}, temperature=0)
    assert [a for a, b in zip(given, PATTERN, strict=False) if a not in b] == []
    assert given[5] == 20
    with pytest.raises(QrtError, match=r"no token may be chosen: .* the grammar"):
        run(False, logit_bias={7: -np.inf})
