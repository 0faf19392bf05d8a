"""What a step must not follow by pointer is refused before any of it runs, by every executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from steps import SETTINGS, open_model, prepare, segment

from qrt.backends import cpu, reference
from qrt.backends.base import Executor, check_batch
from qrt.errors import InputError
from qrt.graph.batch import NO_PAGE, Batch, Segment
from qrt.graph.cut import cut
from qrt.graph.graph import Graph
from qrt.graph.ops.embed import Embed
from qrt.graph.state import KV, Recurrent

pytestmark = pytest.mark.usefixtures("lab")

N_PAGES, MAX_ROWS, N_CTX = 4, 40, 200
LIMITS = {"capacities": (N_PAGES,), "max_rows": MAX_ROWS, "n_ctx": N_CTX}
FULL = [3, 1, 2, 0]


@pytest.fixture(scope="module", params=[reference, cpu], ids=["reference", "cpu"])
def model(lab: object, request: pytest.FixtureRequest) -> Iterator[Executor]:  # noqa: ARG001
    from oracles import data_folder

    backend: ModuleType = request.param
    with closing(prepare(backend, data_folder() / "arch" / "qwen2-dense.gguf", **LIMITS)) as one:
        yield one


REFUSED: dict[str, tuple[list[Segment], str]] = {
    "no rows": ([], "a step has 1 to 40 rows, got 0"),
    "too many rows": ([segment([1] * 41)], "a step has 1 to 40 rows, got 41"),
    "too many together": (
        [segment([1] * 20), segment([1] * 21, table=[1])],
        "a step has 1 to 40 rows, got 41",
    ),
    "a segment of none": (
        [segment([1], table=[1]), segment([])],
        "rows within positions 0 to 199, got 0 from 0",
    ),
    "a negative start": ([segment([1], -1)], "positions 0 to 199, got 1 from -1"),
    "beyond the context": ([segment([1, 1], 199)], "positions 0 to 199, got 2 from 199"),
    "far beyond": ([segment([1], 1 << 62)], "positions 0 to 199"),
    "a negative token": ([segment([1, -1])], r"token ids are 0 to 127, got [1, -1]"),
    "a token too large": ([segment([128])], "token ids are 0 to 127, got [128]"),
    "no table": ([replace(segment([1]), tables=())], "a table for each of 1 state groups, got 0"),
    "two tables": (
        [replace(segment([1]), tables=segment([1]).tables * 2)],
        "a table for each of 1 state groups, got 2",
    ),
    "an empty table": ([segment([1], table=[])], "positions up to 1 in 1 of 4 units"),
    "a short table": ([segment([1] * 3, 62, [1])], "positions up to 65 in 2 of 4 units"),
    "a short table, far on": ([segment([1], 199, FULL[:3])], "positions up to 200 in 4 of 4"),
    "a page that is not there": ([segment([1], table=[4])], "a kv group: expected"),
    "no page": ([segment([1], 64, [NO_PAGE, 1])], "a kv group: expected"),
    "a page below": ([segment([1], 64, [0, -7])], "a kv group: expected"),
    "a negative logit row": ([segment([1, 1], logit_rows=[-1])], "rise from 0 to 1, got [-1]"),
    "a logit row too large": ([segment([1, 1], logit_rows=[2])], "rise from 0 to 1, got [2]"),
    "a falling logit row": ([segment([1] * 3, logit_rows=[2, 1])], "from 0 to 2, got [2, 1]"),
    "a logit row twice": ([segment([1] * 3, logit_rows=[1, 1])], "from 0 to 2, got [1, 1]"),
    "in the second segment": (
        [segment([1]), segment([1], table=[1], logit_rows=[1])],
        "rise from 0 to 0, got [1]",
    ),
    "one page for two": ([segment([1]), segment([1])], "two segments write to one unit of a kv"),
    "a later page of both": (
        [segment([1] * 4, 62, [0, 3]), segment([1], 127, [2, 3])],
        "two segments write to one unit of a kv group",
    ),
    "a page twice in a table": (
        [segment([1] * 2, 63, [2, 2]), segment([1], table=[0])],
        "two segments write to one unit of a kv group",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_and_nothing_has_changed(model: Executor, case: str) -> None:
    good = Batch((segment([5, 6, 7], 61, [3]), segment([9, 1], 0, [1])))
    before = model.step(good).tobytes()
    segments, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        model.step(Batch(tuple(segments)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
    assert model.step(good).tobytes() == before


def test_the_limits_themselves_are_allowed(model: Executor) -> None:
    found = model.step(Batch((segment([0, 127], 198, FULL, [0, 1]),)))
    assert found.shape == (2, 128)
    many = Batch((segment([1] * 20, 108, [3, 1], []), segment([1] * 20, 40, [2], [19])))
    assert model.step(many).shape == (1, 128)
    shared = Batch((segment([1], 64, [3, 1]), segment([2], 64, [3, 2])))  # the start of both
    assert model.step(shared).shape == (2, 128)


def test_what_windows_let_go_needs_no_page() -> None:
    """A table may miss pages that no row of the step sees, and none that one does."""
    op = Embed("x", "table", 8, 8)
    states = (KV((0,), 8, 8, 1), KV((1,), 8, 8, 1, window=70), Recurrent((2,), 16))
    graph = Graph("m", (op,), (0,), "x", {}, {"x": 8}, states, 8, 8, 8)
    limits = replace(SETTINGS, capacities=(4, 4, 3), n_ctx=256)
    whole = np.array([0, 1, 2, 3], np.int32)

    def check(start: int, windowed: list[int], slots: list[int], *others: Segment) -> None:
        tables = (whole, np.array(windowed, np.int32), np.array(slots, np.int32))
        one = Segment(np.zeros(2, np.int32), start, tables, np.zeros(0, np.int32))
        check_batch(Batch((one, *others)), graph, limits)

    check(134, [NO_PAGE, 1, 2], [0, 1])  # position 134 sees 65 and what follows
    check(0, [1], [NO_PAGE, 2])
    for start, windowed, slots, kind in (
        (132, [NO_PAGE, 1, 2], [0, 1], "kv"),  # position 132 sees 63
        (134, [0, NO_PAGE, 2], [0, 1], "kv"),
        (134, [NO_PAGE, 1], [0, 1], "kv"),
        (5, [1], [NO_PAGE, 2], "recurrent"),
        (0, [1], [0, NO_PAGE], "recurrent"),
        (0, [1], [NO_PAGE, 3], "recurrent"),
        (0, [1], [2], "recurrent"),
    ):
        with pytest.raises(InputError, match=f"the table of a {kind} group"):
            check(start, windowed, slots)
    for slot, refused in ((2, True), (1, False)):
        other = Segment(
            np.zeros(1, np.int32),
            0,
            (np.array([3], np.int32), np.array([3], np.int32), np.array([NO_PAGE, slot], np.int32)),
            np.zeros(0, np.int32),
        )
        run: Callable[[], None] = lambda other=other: check(0, [1], [NO_PAGE, 2], other)  # noqa: E731
        if refused:
            with pytest.raises(InputError, match="two segments write to one unit of a recurrent"):
                run()
        else:
            run()


@pytest.mark.parametrize("backend", [reference, cpu], ids=["reference", "cpu"])
def test_hidden_states_fit_the_part_and_the_rows(data: Path, backend: ModuleType) -> None:
    graph, tensors = open_model(data / "arch" / "qwen2-dense.gguf")
    parts = [prepare(backend, (part, tensors), **LIMITS) for part in cut(graph, [1])]
    batch = Batch((segment([1, 2]),))
    hidden = parts[0].step(batch)
    assert hidden.shape == (2, graph.dim)
    wrong = (None, hidden[:1], hidden[:, 1:], hidden.ravel(), np.concatenate([hidden, hidden]))
    for rows in wrong:
        with pytest.raises(InputError, match=rf"hidden states .* expected \(2, {graph.dim}\), got"):
            parts[1].step(batch, rows)
    with pytest.raises(InputError, match=r"hidden states .* expected None, got"):
        parts[0].step(batch, hidden)
    assert np.isfinite(parts[1].step(batch, hidden)).all()
    for part in parts:
        part.close()
