"""Windows: pages that fell out of them may be gone, and are not touched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest
from kernels import nmse
from steps import Logits, Model, prepare

from qrt.backends import cpu, reference
from qrt.backends.base import Executor
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.batch import NO_PAGE, PAGE_LEN, Batch, Segment
from qrt.graph.builder import GraphBuilder
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.select import Select
from qrt.graph.state import KV, StateGroup, first_unit, units_for

pytestmark = pytest.mark.usefixtures("lab")

N_TOKENS, N_PAGES = 700, 12
TOKENS = (np.arange(N_TOKENS) * 37 + 11) % 128
TABLE = np.random.default_rng(3).permutation(N_PAGES).astype(np.int32)


def windowed(window: int) -> Model:
    """Layers that see all positions and layers that see `window`, in turn."""
    dim, builder = 128, GraphBuilder()
    x = builder.append(Embed("e", "table", 128, dim))
    for i in range(3):
        builder.begin_layer()
        n = builder.append(Norm(f"n{i}", x, "scale", dim, 1e-5))
        k, v = (builder.append(Linear(f"{p}{i}", n, p, dim // 2)) for p in "kv")
        heads = {"n_heads": 4, "n_kv_heads": 2, "scale": 0.05}
        one = window if i % 2 == 0 else None
        a = builder.attention(f"a{i}", n, k, v, layer=i, window=one, **heads)
        x = builder.append(Add(f"x{i}", x, builder.append(Linear(f"h{i}", a, "out", dim))))
    builder.append(Linear("logits", builder.append(Select("s", x)), "table", 128))
    rng, tensors = np.random.default_rng(0), {}
    shapes = {"table": (128, dim), "k": (dim // 2, dim), "v": (dim // 2, dim), "out": (dim, dim)}
    for name, shape in {**shapes, "scale": (dim,)}.items():
        values = (rng.normal(size=shape) * (0.3 if name in shapes else 1.0)).astype("<f4")
        tensors[name] = QTensor(name, QTYPES["F32"], shape, values.view(np.uint8).reshape(-1))
    return builder.build("windowed", n_ctx_train=N_TOKENS, dim=dim), tensors


def run(model: Executor, states: Sequence[StateGroup], chunk: int, *, let_go: bool) -> Logits:
    """All logits; with `let_go`, tables miss the pages that the step may not need."""
    found = []
    for start in range(0, N_TOKENS, chunk):
        tokens = TOKENS[start : start + chunk].astype(np.int32)
        tables = []
        for group in states:
            table = TABLE[: units_for(group, start + len(tokens))].copy()
            if let_go:
                table[: first_unit(group, start)] = NO_PAGE
            tables.append(table)
        rows = Segment(tokens, start, tuple(tables), np.arange(len(tokens), dtype=np.int32))
        found.append(model.step(Batch((rows,))).copy())
    return np.concatenate(found)


@pytest.mark.parametrize("window", [1, 40, PAGE_LEN, 300])
@pytest.mark.parametrize("kv_type", ["f32", "q8_0"])
def test_without_the_pages_before_the_window(window: int, kv_type: str) -> None:
    """Decode shares out the splits of deep rows; a chunk ends in the midst of a page."""
    model = windowed(window)
    states = model[0].states
    assert sorted(group.window or 0 for group in states if isinstance(group, KV)) == [0, window]
    limits = {"capacities": (N_PAGES,) * 2, "max_rows": N_TOKENS, "n_ctx": N_TOKENS}
    with closing(prepare(cpu, model, kv_type=kv_type, **limits)) as one:
        want = run(one, states, N_TOKENS, let_go=False)
        for chunk in (1, 5, 90, N_TOKENS):
            assert run(one, states, chunk, let_go=True).tobytes() == want.tobytes(), chunk
    exact = prepare(reference, model, kv_type=kv_type, **limits)
    bound = 1e-9 if kv_type == "f32" else 4e-4
    for chunk in (90, 350):
        assert nmse(want, run(exact, states, chunk, let_go=True)) <= bound


def test_a_page_before_the_window_is_not_touched() -> None:
    """Those pages hold NaN, and what a table says before the window leads to no memory at all."""
    model = windowed(100)
    states = model[0].states
    limits = {"capacities": (N_PAGES,) * 2, "max_rows": N_TOKENS, "n_ctx": N_TOKENS}
    with closing(prepare(cpu, model, kv_type="f32", **limits)) as one:
        run(one, states, 90, let_go=False)
        number = next(n for n, group in enumerate(states) if isinstance(group, KV) and group.window)
        memory = one.recorder.states.memory[number]
        start = N_TOKENS - 1
        tables = [TABLE[: units_for(group, N_TOKENS)].copy() for group in states]
        rows = Segment(TOKENS[start:].astype(np.int32), start, tuple(tables), np.zeros(1, np.int32))
        want = one.step(Batch((rows,))).tobytes()
        first = first_unit(states[number], start)
        assert first > 5
        memory[:, tables[number][:first]] = 0xFF  # NaN
        far = np.iinfo(np.int32).min
        tables[number][:first] = far
        rows = Segment(TOKENS[start:].astype(np.int32), start, tuple(tables), np.zeros(1, np.int32))
        assert one.step(Batch((rows,))).tobytes() == want
