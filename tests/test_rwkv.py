"""RWKV-6 and RWKV-7 beside their papers, and their kernels beside the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import BEST, EVERY_ROW, RUNNABLE, Buffer, Lab, nmse, quantize_lines
from numpy.typing import NDArray
from tiny_models import metadata_of, tensors_of
from tiny_parts import N_CTX, TOKENS

from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.backends.base import Settings
from qrt.backends.reference.ops import run
from qrt.graph.op import Op
from qrt.graph.ops.bonus import Bonus
from qrt.graph.ops.lerp import Lerp
from qrt.graph.ops.shift import Shift
from qrt.graph.ops.wkv6 import Wkv6
from qrt.graph.ops.wkv7 import Wkv7
from qrt.kernels import layout
from qrt.runtime.engine import Engine
from qrt.runtime.steps import Rows

KERNELS = ("shift", "lerp", "wkv6", "wkv6.gated", "wkv7", "bonus")
few = settings(max_examples=12, derandomize=True, deadline=None, database=None)
seeds = st.integers(0, 2**32 - 1)
segments = st.lists(st.tuples(st.sampled_from([1, 2, 5, 9]), st.booleans()), max_size=4)
"""Of each its rows, and whether it begins a sequence."""
Floats = NDArray[np.float32]


@pytest.fixture(scope="module", params=sorted({BEST, "avx2"} & set(RUNNABLE)))
def rwkv_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    one = Lab(request.param, KERNELS)
    yield one
    one.close()


@pytest.mark.parametrize("name", ["rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"])
def test_the_bits_depend_on_no_chunks_and_no_neighbours(name: str) -> None:
    tensors = tensors_of(name)
    graph = build_graph(metadata_of(name), tensors, "tiny", N_CTX)
    settings = Settings(2, (16,) * len(graph.states), 64, "f16", N_CTX)
    model = cpu.prepare(graph, tensors, settings, lambda *_: None)
    engine, prompt = Engine(model, graph.states, N_CTX), TOKENS.tolist()
    whole = engine.append(engine.open(), prompt, n_logits=40)
    for chunk in (1, 7, 39):
        got = engine.append(engine.open(), prompt, n_logits=40, chunk=chunk)
        assert got.tobytes() == whole.tobytes(), chunk
    seqs = [engine.open() for _ in range(3)]
    for seq, n in zip(seqs, (0, 5, 30), strict=True):
        if n:
            engine.append(seq, prompt[:n])
    counts = (40, 1, 7)
    rows = [
        Rows(seq, prompt[len(seq) : len(seq) + n], np.arange(n, dtype=np.int32))
        for seq, n in zip(seqs, counts, strict=True)
    ]
    parts = np.split(engine.step(rows), np.cumsum(counts)[:-1])
    for part, first, n in zip(parts, (0, 5, 30), counts, strict=True):
        assert part.tobytes() == whole[first : first + n].tobytes()
    twin = engine.fork(seqs[1])
    for seq in (twin, seqs[1]):
        assert engine.append(seq, prompt[6:9], n_logits=3).tobytes() == whole[6:9].tobytes()
    engine.check_integrity()
    engine.close()


def meaning(
    op: Op, lengths: Sequence[int], states: list[NDArray[np.float64]], **made: Floats
) -> NDArray[np.float64]:
    """What the reference makes of an op; `states` become those behind the segments."""

    def walk(_kind: str, _layer: int, shape: tuple[int, ...]) -> Iterator[tuple[range, Any]]:
        first = 0
        for length, state in zip(lengths, states, strict=True):
            yield range(first, first + length), state.reshape(shape)
            first += length

    wide = {name: value.astype(np.float64) for name, value in made.items()}
    return run(SimpleNamespace(values=wide, weights=wide, states=walk), op)


class Held:
    """Slots of one layer, and tables of segments: each reads slot 2i or none, writes 2i + 1."""

    def __init__(self, lab: Lab, states: list[Floats], fresh: Sequence[bool], size: int) -> None:
        self.slots = Buffer((2 * len(states) + 1, size + 3), np.float32)
        self.tables = []
        for i, state in enumerate(states):
            self.slots.array[2 * i, :size] = state.ravel()
            self.tables.append(lab.put(np.int32([-1 if fresh[i] else 2 * i, 2 * i + 1])))
        self.fields = {"group": 1, "slots": self.slots.address, "slot_stride": 4 * (size + 3)}

    def step(self, lab: Lab, lengths: Sequence[int]) -> dict[str, int]:
        rows = np.repeat(np.int64(self.tables), lengths) if self.tables else np.int64([])
        groups = np.int64([0, lab.put(rows)])
        return {"n_rows": sum(lengths), "tables": lab.put(groups)}

    def after(self, size: int) -> Floats:
        self.slots.check()
        assert np.isnan(self.slots.array[:, size:]).all()
        return self.slots.array[1::2, :size].copy()


def recurrent(
    lab: Lab,
    op: Op,
    fields: Any,
    lengths: Sequence[int],
    states: list[Floats],
    fresh: Sequence[bool],
    made: dict[str, Floats],
    **fixed: int,
) -> tuple[Floats, Floats]:
    """What a kernel makes of segments, and the states behind them."""
    size = states[0].size if states else 1
    held, n_rows = Held(lab, states, fresh, size), sum(lengths)
    out = Buffer((n_rows, fixed.pop("width")), np.float32)
    kernel = fixed.pop("kernel", op.kind)
    values = {name: lab.put(value) for name, value in made.items()}
    args = lab.record(fields, **values, **fixed, **held.fields, out=out.address)
    (got,) = lab.run([(kernel, args)], [out], **held.step(lab, lengths))
    assert lab.fault == 0
    return got, held.after(size)


@given(st.sampled_from([1, 16, 67]), segments, seeds)
@few
def test_shift(rwkv_lab: Lab, width: int, parts: list[tuple[int, bool]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths, fresh = [n for n, _ in parts], [new for _, new in parts]
    x = rng.normal(size=(sum(lengths), width)).astype(np.float32)
    states = [rng.normal(size=width).astype(np.float32) for _ in parts]
    op = Shift("y", "x", 0, width, "shift_att")
    sizes = {"n_in": width, "width": width}
    got, after = recurrent(rwkv_lab, op, layout.SHIFT, lengths, states, fresh, {"x": x}, **sizes)
    want = [np.zeros(width) if new else s * 1.0 for s, new in zip(states, fresh, strict=True)]
    np.testing.assert_array_equal(got, meaning(op, lengths, want, x=x))
    np.testing.assert_array_equal(after, np.reshape(want, after.shape))


def wkv(seed: int, n_rows: int, op: Any, heads: dict[str, int]) -> dict[str, Floats]:
    """Rows for an op: `heads` of each value; decays below 1."""
    rng = np.random.default_rng(seed)
    made = {
        name: rng.normal(size=(n_rows, n * op.head_dim)).astype(np.float32)
        for name, n in heads.items()
    }
    made["decay"] = rng.uniform(0.5, 1.0, made["decay"].shape).astype(np.float32)
    return made


@given(
    st.sampled_from([1, 5, 16, 20, 32, 64, 70]),
    st.sampled_from([(1, 1), (3, 3), (4, 2)]),
    st.booleans(),
    segments,
    seeds,
)
@few
def test_wkv6(
    rwkv_lab: Lab,
    head_dim: int,
    heads: tuple[int, int],
    gated: bool,
    parts: list[tuple[int, bool]],
    seed: int,
) -> None:
    n, n_kv = heads
    op = Wkv6("y", "r", "k", "v", "decay", None if gated else "first", 3, n, n_kv, head_dim)
    lengths, fresh = [count for count, _ in parts], [new for _, new in parts]
    counts = {"r": n, "k": n_kv, "v": n_kv, "decay": n}
    made = wkv(seed, sum(lengths), op, counts)
    rng = np.random.default_rng(seed + 1)
    made["first"] = rng.normal(size=(n, head_dim)).astype(np.float32)
    sizes = {"n_heads": n, "n_kv_heads": n_kv, "head_dim": head_dim, "layer": 3}
    sizes["width"] = n * head_dim
    kernel = "wkv6.gated" if gated else "wkv6"
    check(rwkv_lab, op, layout.WKV6, lengths, fresh, made, rng, kernel=kernel, **sizes)


@given(st.sampled_from([1, 5, 16, 20, 32, 64, 70]), st.sampled_from([1, 3, 4]), segments, seeds)
@few
def test_wkv7(
    rwkv_lab: Lab, head_dim: int, n: int, parts: list[tuple[int, bool]], seed: int
) -> None:
    op = Wkv7("y", "r", "k", "v", "decay", "removed", "rate", 3, n, head_dim)
    lengths, fresh = [count for count, _ in parts], [new for _, new in parts]
    made = wkv(seed, sum(lengths), op, dict.fromkeys(op.reads, n))
    made["rate"] = np.abs(np.tanh(made["rate"]))
    if sum(lengths):
        made["removed"][0] = 0.0
    rng = np.random.default_rng(seed + 1)
    sizes = {"n_heads": n, "head_dim": head_dim, "layer": 3, "width": n * head_dim}
    check(rwkv_lab, op, layout.WKV7, lengths, fresh, made, rng, **sizes)


def check(
    lab: Lab,
    op: Any,
    fields: Any,
    lengths: list[int],
    fresh: list[bool],
    made: dict[str, Floats],
    rng: np.random.Generator,
    **sizes: Any,
) -> None:
    """Against the reference; and each segment alone and in two halves has the same bits."""
    shape = (op.n_heads, op.head_dim, op.head_dim)
    states = [rng.normal(size=shape).astype(np.float32) for _ in lengths]
    got, after = recurrent(lab, op, fields, lengths, states, fresh, made, **sizes)
    want = [s * (0.0 if new else 1.0) for s, new in zip(states, fresh, strict=True)]
    want = [state.astype(np.float64) for state in want]
    assert nmse(got, meaning(op, lengths, want, **made)) <= 1e-11
    assert nmse(after, np.reshape(want, after.shape)) <= 1e-11
    first = 0
    for i, length in enumerate(lengths):
        state, new, found = states[i], fresh[i], []
        for start, end in ((0, length // 2), (length // 2, length)):
            if start == end:
                continue
            rows = slice(first + start, first + end)
            some = {k: v if k == "first" else v[rows] for k, v in made.items()}
            part, (left,) = recurrent(lab, op, fields, [end - start], [state], [new], some, **sizes)
            state, new = left, False
            found.append(part)
        first += length
        assert np.concatenate(found).tobytes() == got[first - length : first].tobytes()
        assert state.tobytes() == after[i].tobytes()


@given(st.sampled_from([1, 16, 64, 67]), st.sampled_from([0, 1, 5]), st.integers(0, 2), seeds)
@few
def test_lerp(rwkv_lab: Lab, width: int, n_rows: int, given_: int, seed: int) -> None:
    """Part 1 of 3, by a weight, by a value, or by both."""
    rng = np.random.default_rng(seed)
    x, other = rng.normal(size=(2, n_rows, width)).astype(np.float32)
    weight = rng.normal(size=(3, 1, 1, width)).astype(np.float32)
    more = rng.normal(size=(n_rows, 3 * width)).astype(np.float32)
    names = ("w" if given_ != 1 else None, "m" if given_ != 0 else None)
    out, lines = Buffer(x.shape, np.float32), Buffer((n_rows, width // 32, 64), np.uint8)
    args = rwkv_lab.record(
        layout.LERP,
        x=rwkv_lab.put(x),
        other=rwkv_lab.put(other),
        weight=0 if names[0] is None else rwkv_lab.put(weight) + 4 * width,
        more=0 if names[1] is None else rwkv_lab.put(more) + 4 * width,
        more_stride=3 * width,
        n_in=width,
        out=out.address,
        lines=lines.address if width % 32 == 0 else 0,
        floats=0,
        tile_rows=1,
        rows_of=EVERY_ROW,
    )
    got, quants = rwkv_lab.run([("lerp", args)], [out, lines], n_rows=n_rows)
    op = Lerp("y", "x", "o", *names, 1, 3)
    np.testing.assert_allclose(
        got, meaning(op, [], [], x=x, o=other, w=weight, m=more), rtol=1e-5, atol=1e-5
    )
    if width % 32 == 0:
        model = quantize_lines(got, fused=True)
        np.testing.assert_array_equal(quants[..., :32].view(np.int8), model["quants"])


@given(
    st.sampled_from([1, 16, 20, 64]), st.integers(1, 3), st.sampled_from([0, 1, 5]),
    st.booleans(), seeds,
)  # fmt: skip
@few
def test_bonus(
    rwkv_lab: Lab, head_dim: int, n_heads: int, n_rows: int, gated: bool, seed: int
) -> None:
    rng, width = np.random.default_rng(seed), n_heads * head_dim
    x, r, k, v, gate = rng.normal(size=(5, n_rows, width)).astype(np.float32)
    weight = rng.normal(size=width).astype(np.float32)
    made = {"x": x, "r": r, "k": k, "v": v, "weight": weight, "gate": gate}
    out = Buffer(x.shape, np.float32)
    places = {name: rwkv_lab.put(value) for name, value in made.items()}
    if not gated:
        places["gate"] = 0
    forms = {"lines": 0, "floats": 0, "tile_rows": 1, "rows_of": EVERY_ROW}
    sizes = {"n_in": width, "head_dim": head_dim, "out": out.address}
    args = rwkv_lab.record(layout.BONUS, **places, **sizes, **forms)
    (got,) = rwkv_lab.run([("bonus", args)], [out], n_rows=n_rows)
    op = Bonus("y", "x", "r", "k", "v", "weight", head_dim, "gate" if gated else None)
    assert nmse(got, meaning(op, [], [], **made)) <= 1e-11


def test_what_is_not_finite_names_its_layer(rwkv_lab: Lab) -> None:
    op = Wkv7("y", "r", "k", "v", "decay", "removed", "rate", 3, 2, 20)
    made = wkv(0, 2, op, dict.fromkeys(op.reads, 2))
    made["v"][1, 39] = np.nan
    held = Held(rwkv_lab, [np.zeros((2, 20, 20), np.float32)], [True], 800)
    out = Buffer((2, 40), np.float32)
    values = {name: rwkv_lab.put(value) for name, value in made.items()}
    sizes = {"n_heads": 2, "head_dim": 20, "layer": 3, "out": out.address}
    args = rwkv_lab.record(layout.WKV7, **values, **sizes, **held.fields)
    rwkv_lab.run([("wkv7", args)], [out], **held.step(rwkv_lab, [2]))
    assert rwkv_lab.fault == 4
