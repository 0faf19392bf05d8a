"""What sequences hold: counted pages, windows, states with snapshots, forks and cuts."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import GROUPS, N_VOCAB, PLAIN, WINDOW, engine, executor
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qrt.errors import BackendError, ClosedError
from qrt.graph.batch import PAGE_LEN
from qrt.graph.state import KV, Recurrent
from qrt.runtime.capacity import capacities
from qrt.runtime.pool import Pool, pages_for
from qrt.runtime.slots import worth_keeping
from qrt.runtime.steps import Rows, last_rows

WINDOWED, STATES = GROUPS[1:2], GROUPS[2:]


def text(n: int) -> list[int]:
    """The first n tokens of a text without end."""
    return [(i * 7 + i // 5) % N_VOCAB for i in range(n)]


def expected(tokens: list[int], groups=GROUPS) -> np.ndarray:
    """The logits after `tokens`, computed in one step."""
    fresh = engine(1 << 14, n_pages=300, max_rows=1 << 14, groups=groups)
    return fresh.append(fresh.open(), tokens)


def test_a_pool_counts_references_and_refuses_more_than_it_has():
    pool = Pool(5, "pages")
    first, second = pool.alloc(2), pool.alloc(3)
    with pytest.raises(BackendError, match="1 pages needed, 0 of 5 free"):
        pool.alloc(1)
    pool.share(first)
    pool.drop(first)
    assert pool.n_free == 0
    pool.check_integrity([*first, *second])
    pool.drop(first)
    assert pool.alloc(2) == first
    pool.recount([*second, second[0]])
    assert pool.is_shared(second[0])
    pool.check_integrity([*second, second[0]])
    with pytest.raises(AssertionError):
        pool.check_integrity(second)


@pytest.mark.parametrize(("n", "pages"), [(0, 0), (1, 1), (PAGE_LEN, 1), (PAGE_LEN + 1, 2)])
def test_pages_for(n, pages):
    assert pages_for(n) == pages


def test_capacities_hold_a_full_context_and_a_window_costs_no_more_than_it_is_long():
    full, windowed, slots = capacities(GROUPS, 65536, 512)
    assert full == 1024 + 128
    assert windowed == pages_for(WINDOW + PAGE_LEN + 512) + 1 + 128
    assert slots == 3 + 5
    assert capacities(STATES, 65536, 512, slots=0) == (3,)
    assert capacities(GROUPS, 256, 256)[:2] == (4 + 60, 4 + 60)


@pytest.mark.parametrize("chunk", [1, 100, 512])
def test_a_window_keeps_a_constant_number_of_pages(chunk):
    run = engine(1 << 14, n_pages=4 + pages_for(chunk), max_rows=512, groups=WINDOWED)
    seq, n = run.open(), 8000 if chunk > 1 else 1500
    for start in range(0, n, chunk):
        logits = run.append(seq, text(n)[start : start + chunk])
        assert run.n_pages[0] - run.n_free_pages[0] <= 4
    run.check_integrity()
    assert np.array_equal(logits, expected(text(n)[-400:], WINDOWED)[:1])


def test_a_window_can_be_cut_a_little_or_to_nothing():
    run = engine(1 << 14, n_pages=64, max_rows=512, groups=WINDOWED)
    seq = run.open()
    run.append(seq, text(1000))
    assert run.cut(seq, 1000 - PAGE_LEN) == 1000 - PAGE_LEN
    assert np.array_equal(run.append(seq, text(1000)[-PAGE_LEN:]), expected(text(1000), WINDOWED))
    assert run.cut(seq, 700) == 0
    run.check_integrity()
    assert run.n_free_pages == (64,)


def test_a_state_is_cut_to_its_snapshots():
    run = engine(1 << 14, n_pages=16, max_rows=512, groups=STATES)
    seq = run.open()
    for end in range(PAGE_LEN, 6 * PAGE_LEN, PAGE_LEN):
        run.append(seq, text(end)[-PAGE_LEN:])
    run.append(seq, [1, 2, 3])
    assert run.n_pages[0] - run.n_free_pages[0] <= 5
    assert run.cut(seq, 5 * PAGE_LEN + 1) == 5 * PAGE_LEN
    assert run.cut(seq, 5 * PAGE_LEN - 1) == 4 * PAGE_LEN
    run.check_integrity()
    assert np.array_equal(run.append(seq, [9]), expected([*text(4 * PAGE_LEN), 9], STATES))
    assert run.cut(seq, 10) == 0


def test_few_snapshots_lie_near_wherever_a_sequence_is_cut():
    """As borders come one by one: a cut back by n tokens computes at most 2 n and a page again."""
    ends, most = [], 0
    for n_tokens in range(PAGE_LEN, 2000 * PAGE_LEN, PAGE_LEN):
        ends = worth_keeping([*ends, n_tokens], n_tokens)
        most = max(most, len(ends))
        for before, after in zip((0, *ends), ends, strict=False):
            assert after - before <= max(PAGE_LEN, 2 * (n_tokens - after))
    assert most <= 16
    assert worth_keeping([64, 128, 192, 256], 5000, {128}) == [128, 256]


@pytest.mark.parametrize("n_kept", [0, 2, 6])
def test_drafted_rows_are_verified_and_cut_back(n_kept):
    run = engine(1024, n_pages=64, max_rows=64, groups=GROUPS)
    seq, draft = run.open(), [5, 6, 7, 8, 9, 10]
    run.append(seq, text(150))
    logits = run.verify(seq, draft)
    for i in range(6):
        assert np.array_equal(logits[i : i + 1], expected([*text(150), *draft[: i + 1]]))
    at = run.cut(seq, 150 + n_kept)
    assert at == (156 if n_kept == 6 else 150)
    rest = [*draft[:n_kept], 3][at - 150 :]
    assert np.array_equal(run.append(seq, rest), expected([*text(150), *draft[:n_kept], 3]))
    run.check_integrity()


@pytest.mark.parametrize("n", [PAGE_LEN, 100, 300])
def test_a_fork_shares_its_pages_until_it_writes(n):
    fake = executor(n_pages=32, max_rows=64, groups=GROUPS)
    run = engine(1024, fake)
    seq = run.open()
    run.append(seq, text(n))
    free = run.n_free_pages
    twin = run.fork(seq)
    assert run.n_free_pages == free
    for _ in range(2):
        a, b = run.append(seq, [3]), run.append(twin, [4])
    assert np.array_equal(a, expected([*text(n), 3, 3]))
    assert np.array_equal(b, expected([*text(n), 4, 4]))
    assert fake.n_copies == (0 if n % PAGE_LEN == 0 else 2)
    run.check_integrity()
    run.release(seq)
    assert np.array_equal(run.append(twin, [4]), expected([*text(n), 4, 4, 4]))
    run.release(twin)
    run.check_integrity()
    assert run.n_free_pages == (32,) * 3


def test_a_step_mixes_decoding_verifying_and_a_prompt():
    run = engine(1024, n_pages=64, max_rows=512, groups=GROUPS)
    lengths, added = [70, 128, 3, 200, 0], [1, 1, 1, 6, 400]
    seqs = [run.open() for _ in lengths]
    for seq, n in zip(seqs, lengths, strict=True):
        if n:
            run.append(seq, text(n))
    wanted = [1, 1, 1, 6, 1]
    logits = run.step([
        Rows(seq, text(n + m)[n:], last_rows(m, k))
        for seq, n, m, k in zip(seqs, lengths, added, wanted, strict=True)
    ])  # fmt: skip
    ends = [
        n + m - k + i + 1 for n, m, k in zip(lengths, added, wanted, strict=True) for i in range(k)
    ]
    for row, end in zip(logits, ends, strict=True):
        assert np.array_equal(row, expected(text(end))[0])
    run.check_integrity()


def test_a_released_sequence_is_refused():
    run = engine()
    seq = run.open()
    run.append(seq, [1])
    run.release(seq)
    run.release(seq)
    for call in (lambda: run.append(seq, [2]), lambda: run.fork(seq), lambda: run.cut(seq, 0)):
        with pytest.raises(ClosedError, match="the session is closed"):
            call()


class FailedError(Exception):
    """A step that fails."""


class Sequences(RuleBasedStateMachine):
    """Sequences that are appended to, forked, cut and released, with steps that fail."""

    groups = GROUPS

    @initialize()
    def begin(self):
        self.fake = executor(n_pages=24, max_rows=200, groups=self.groups)
        self.engine = engine(4096, self.fake)
        self.held: dict[object, list[int]] = {}
        self.n = 0

    def fresh(self, n: int) -> list[int]:
        self.n += n
        return text(self.n)[-n:]

    @precondition(lambda self: len(self.held) < 5)
    @rule(idle=st.booleans())
    def open(self, idle):
        self.held[self.engine.open(idle=idle)] = []

    @precondition(lambda self: self.held)
    @rule(data=st.data(), n=st.sampled_from([1, 2, 5, 40, 64, 70, 190]), fails=st.booleans())
    def append(self, data, n, fails):
        seqs = list(self.held)
        chosen = data.draw(st.lists(st.sampled_from(seqs), min_size=1, max_size=3, unique=True))
        rows = [Rows(seq, self.fresh(n if i == 0 else 1), last_rows(n if i == 0 else 1, 1))
                for i, seq in enumerate(chosen)]  # fmt: skip
        before = {seq: list(seq.tokens) for seq in seqs}

        def fail():
            raise FailedError

        self.fake.before_step = fail if fails else None
        try:
            logits = self.engine.step(rows)
        except FailedError:
            assert fails
        except BackendError:
            assert any(seq.owner is not None for seq in seqs)
        else:
            for part, row in zip(rows, logits, strict=True):
                self.held[part.seq] = before[part.seq] + part.tokens
                whole = expected(self.held[part.seq], self.groups)
                assert np.array_equal(row, whole[0])
        self.expect(rows)

    def expect(self, rows):
        """Others may have given way; those that took part have not."""
        for seq in self.held:
            if seq.owner is None and not any(part.seq is seq for part in rows) and not len(seq):
                self.held[seq] = []

    @precondition(lambda self: self.held and len(self.held) < 5)
    @rule(data=st.data())
    def fork(self, data):
        seq = data.draw(st.sampled_from(list(self.held)))
        self.held[self.engine.fork(seq)] = list(self.held[seq])

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def cut(self, data):
        seq = data.draw(st.sampled_from(list(self.held)))
        n = data.draw(st.integers(0, len(seq)))
        at = self.engine.cut(seq, n)
        assert at <= n
        self.held[seq] = self.held[seq][:at]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        seq = data.draw(st.sampled_from(list(self.held)))
        self.engine.release(seq)
        del self.held[seq]

    @invariant()
    def all_is_counted(self):
        if hasattr(self, "engine"):
            self.engine.check_integrity()
            assert {seq: seq.tokens for seq in self.held} == self.held

    def teardown(self):
        if hasattr(self, "engine"):
            for seq in self.held:
                self.engine.release(seq)
            self.engine.check_integrity()
            assert self.engine.n_free_pages == self.engine.n_pages


class PlainSequences(Sequences):
    """With keys and values alone, any cut is possible."""

    groups = PLAIN


TestSequences = Sequences.TestCase
TestSequences.settings = settings(max_examples=40, stateful_step_count=30)
TestPlainSequences = PlainSequences.TestCase
TestPlainSequences.settings = settings(max_examples=20, stateful_step_count=30)


def test_a_group_of_each_kind_is_tested():
    assert [type(group) for group in GROUPS] == [KV, KV, Recurrent]
