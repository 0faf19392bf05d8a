"""What runs next: decisions on numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrt.graph.batch import PAGE_LEN
from qrt.runtime.policy import Limits, admits, plan, victims

LIMITS = Limits(max_rows=512)


@dataclass(frozen=True)
class Job:
    name: int
    n_left: int = 1
    n_stored: int = 0
    is_wanted: bool = True
    branch: int = 0
    n_whole: int = 0


def chosen(jobs, limits=LIMITS, at_borders=False):
    return [(job.name, n) for job, n in plan(jobs, limits, at_borders=at_borders)]


def test_one_that_decodes_has_a_row_and_a_prompt_alone_a_full_step():
    assert chosen([]) == []
    assert chosen([Job(0)]) == [(0, 1)]
    assert chosen([Job(0, 20)]) == [(0, 20)]
    assert chosen([Job(0, 4000)]) == [(0, 512)]


def test_all_that_decode_run_beside_one_chunk_of_prompts_oldest_first():
    decoding = [Job(i) for i in range(8)]
    rows = [(i, 1) for i in range(8)]
    assert chosen([*decoding, Job(8, 4000)]) == [*rows, (8, 256)]
    prompts = [Job(8, 100), Job(9, 100), Job(10, 100), Job(11, 100)]
    assert chosen([*decoding, *prompts]) == [*rows, (8, 100), (9, 100), (10, 56)]
    assert chosen([Job(0, 300), Job(1, 300)]) == [(0, 300), (1, 212)]


def test_a_part_of_a_prompt_ends_at_a_page_border_where_states_are_kept():
    assert chosen([Job(0, 500)], at_borders=True) == [(0, 448)]
    assert chosen([Job(0, 500, n_stored=30)], at_borders=True) == [(0, 512 - 30)]
    assert chosen([Job(0, 52, n_stored=448)], at_borders=True) == [(0, 52)]
    assert chosen([Job(0, 1, n_stored=5)], at_borders=True) == [(0, 1)]


def test_a_text_for_an_encoder_is_read_whole_beside_all_others():
    texts = [Job(i, 301, n_whole=300) for i in range(3)]
    assert chosen(texts[:2]) == [(0, 300)]
    assert chosen([Job(7), *texts, Job(8, 500, n_stored=9)]) == [(7, 1), (0, 300), (8, 256)]
    short = [Job(i, 101, n_whole=100) for i in range(5)]
    assert chosen(short) == [(i, 100) for i in range(5)]
    assert chosen([Job(7), *short]) == [(7, 1), (0, 100), (1, 100)]
    assert chosen([*texts, *short]) == [(0, 300)]
    full = [Job(i) for i in range(300)]
    limits = Limits(512, max_running=301)
    assert chosen([*full[:255], Job(300, 513, n_whole=512)], limits)[-1] == (300, 512)


@given(
    st.lists(st.integers(1, 3000), max_size=100),
    st.sampled_from([1, 2, 3, 64, 512]),
    st.booleans(),
)
def test_a_step_has_rows_for_the_oldest_and_never_too_many(lefts, max_rows, at_borders):
    limits = Limits(max_rows)
    jobs = [Job(i, n, n_stored=i * 10) for i, n in enumerate(lefts)]
    rows = plan(jobs, limits, at_borders=at_borders)
    assert sum(n for _, n in rows) <= max_rows
    assert len({job for job, _ in rows}) == len(rows) <= limits.n_running
    assert all(0 < n <= job.n_left for job, n in rows)
    among = jobs[: limits.n_running]
    assert all((job, 1) in rows for job in among if job.n_left == 1)
    assert not jobs or next((j for j in among if j.n_left > 1), among[0]) in dict(rows)
    if at_borders:
        whole = [(j.n_stored + n) % PAGE_LEN == 0 or n < PAGE_LEN or n == j.n_left for j, n in rows]
        assert all(whole)


@pytest.mark.parametrize(
    ("need", "room", "n_running", "admitted"),
    [
        ((9,), (1,), 0, True),  # alone it always starts
        ((3,), (3,), 5, True),
        ((4,), (3,), 5, False),
        ((1, 2), (9, 1), 1, False),
        ((1,), (9,), 63, True),
        ((1,), (9,), 64, False),
    ],
)
def test_admission(need, room, n_running, admitted):
    assert admits(need, room, n_running, LIMITS) == admitted


def test_those_without_a_reader_give_way_first_and_the_oldest_never():
    jobs = [Job(0, is_wanted=False), Job(1), Job(2, is_wanted=False), Job(3), Job(4)]
    assert [job.name for job in victims(jobs)] == [2, 0, 4, 3]
    assert list(victims([Job(0)])) == []


def test_a_reader_that_comes_back_meanwhile_saves_nobody():
    class Reader:
        """Wanted from the second time that it is asked."""

        n_asked = 0

        @property
        def is_wanted(self):
            self.n_asked += 1
            return self.n_asked > 1

    assert len(list(victims([Reader() for _ in range(3)]))) == 3


def test_few_rows_run_few_generations():
    assert [Limits(n).n_running for n in (1, 8, 512)] == [1, 4, 64]
