"""Attention among the rows of each segment, and vectors of types, against NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Buffer, Lab, float_bits, nmse
from numpy.typing import NDArray

from qrt.graph.ops.attend_rows import AttendRows
from qrt.kernels import layout

few = settings(max_examples=8, derandomize=True, deadline=None, database=None)
LAYER = 3


@dataclass(frozen=True)
class Shape:
    """What a call needs besides the numbers; `lengths` are those of the segments."""

    lengths: tuple[int, ...]
    n_kv_heads: int = 2
    shared: int = 1
    k_width: int = 32
    v_width: int = 32
    reach: int | None = None
    softcap: float = 0.0
    max_bias: float = 0.0
    n_buckets: int = 0

    @property
    def op(self) -> AttendRows:
        return AttendRows(
            *("out", "q", "k", "v", LAYER, self.n_kv_heads * self.shared, self.n_kv_heads),
            *(self.k_width, self.v_width, self.k_width**-0.5, self.reach),
            softcap=self.softcap or None,
            max_bias=self.max_bias,
            rel_bias="bias" if self.n_buckets else None,
            n_buckets=self.n_buckets,
        )


@dataclass(frozen=True)
class Rows:
    q: NDArray[np.float32]  # (n_rows, n_heads, k_width)
    k: NDArray[np.float32]  # (n_rows, n_kv_heads, k_width)
    v: NDArray[np.float32]  # (n_rows, n_kv_heads, v_width)
    learned: NDArray[np.float32] | None  # (n_buckets, n_heads)

    def part(self, start: int, end: int) -> Rows:
        return Rows(self.q[start:end], self.k[start:end], self.v[start:end], self.learned)


def make_rows(shape: Shape, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    n, heads = sum(shape.lengths), shape.n_kv_heads * shape.shared

    def normal(*size: int) -> NDArray[np.float32]:
        return rng.normal(size=size).astype(np.float32)

    q = normal(n, heads, shape.k_width) * (8 if shape.softcap else 1)
    k, v = normal(n, shape.n_kv_heads, shape.k_width), normal(n, shape.n_kv_heads, shape.v_width)
    return Rows(q, k, v, normal(shape.n_buckets, heads) if shape.n_buckets else None)


def attend(lab: Lab, shape: Shape, rows: Rows) -> NDArray[np.float32]:
    out = Buffer((*rows.q.shape[:2], shape.v_width), np.float32)
    span = layout.bias_span(len(rows.q))
    bias = shape.op.bias(span, rows.learned)
    bias = np.maximum(bias, layout.FAR_BELOW).astype(np.float32)
    record = lab.record(
        layout.ATTEND_ROWS,
        q=lab.put(rows.q),
        k=lab.put(rows.k),
        v=lab.put(rows.v),
        out=out.address,
        layer=LAYER,
        n_heads=shape.n_kv_heads * shape.shared,
        n_kv_heads=shape.n_kv_heads,
        k_width=shape.k_width,
        v_width=shape.v_width,
        scale=float_bits(shape.k_width**-0.5),
        softcap=float_bits(shape.softcap),
        reach=span if shape.reach is None else shape.reach,
        bias=lab.put(bias) if bias.any() else 0,
        bias_stride=4 * bias.shape[1] if len(bias) > 1 else 0,
        span=span,
    )
    positions = np.concatenate([np.arange(n, dtype=np.int32) for n in shape.lengths])
    step = {"n_rows": len(positions), "positions": lab.put(positions)}
    return lab.run([("attend_rows", record)], [out], **step)[0]


def reference(shape: Shape, rows: Rows) -> NDArray[np.float64]:
    want, start = np.empty((*rows.q.shape[:2], shape.v_width)), 0
    for n in shape.lengths:
        q, k, v = (x[start : start + n].astype(np.float64) for x in (rows.q, rows.k, rows.v))
        distance = np.arange(n) - np.arange(n)[:, None]
        bias = shape.op.bias(n, rows.learned)[:, distance + n]
        for head in range(rows.q.shape[1]):
            scores = q[:, head] @ k[:, head // shape.shared].T * shape.k_width**-0.5
            if shape.softcap:
                scores = shape.softcap * np.tanh(scores / shape.softcap)
            weights = np.exp(scores + bias[min(head, len(bias) - 1)])
            weights /= weights.sum(axis=1, keepdims=True)
            want[start : start + n, head] = weights @ v[:, head // shape.shared]
        start += n
    return want


@given(
    st.lists(st.sampled_from([1, 2, 3, 15, 16, 17, 63, 64, 65, 130]), min_size=1, max_size=4),
    st.sampled_from([(1, 1), (2, 1), (2, 3), (1, 9)]),
    st.sampled_from([(32, 32), (64, 64), (1, 1), (5, 33), (48, 80), (256, 256)]),
    st.sampled_from([None, None, 0, 1, 20, 64, 100]),
    st.sampled_from([{}, {"softcap": 5.0}, {"max_bias": 8.0}, {"n_buckets": 32}]),
    st.integers(0, 2**32 - 1),
)
@settings(few, max_examples=40)
def test_attend_rows(
    lab: Lab,
    lengths: list[int],
    heads: tuple[int, int],
    widths: tuple[int, int],
    reach: int | None,
    options: dict,
    seed: int,
) -> None:
    shape = Shape(tuple(lengths), *heads, *widths, reach, **options)
    rows = make_rows(shape, seed)
    assert nmse(attend(lab, shape, rows), reference(shape, rows)) <= 1e-10
    assert lab.fault == 0


@pytest.mark.parametrize("options", [{}, {"reach": 30}, {"max_bias": 8.0, "softcap": 5.0}])
def test_on_every_tier(main_lab: Lab, options: dict) -> None:
    shape = Shape((70, 5, 1, 140), k_width=40, v_width=24, **options)
    rows = make_rows(shape, 1)
    assert nmse(attend(main_lab, shape, rows), reference(shape, rows)) <= 1e-10


@pytest.mark.parametrize("reach", [None, 70])
def test_a_text_does_not_see_its_neighbours(lab: Lab, reach: int | None) -> None:
    """The same bits alone and among others, whatever these are."""
    shape = Shape((67, 300, 9), shared=3, k_width=48, reach=reach, max_bias=8.0)
    rows = make_rows(shape, 4)
    rows.k[:67], rows.v[-9:] = np.nan, np.inf
    alone = attend(lab, replace(shape, lengths=(300,)), rows.part(67, 367))
    assert np.isfinite(alone).all()
    assert attend(lab, shape, rows)[67:367].tobytes() == alone.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_what_is_not_finite_shows(lab: Lab, value: float, part: str) -> None:
    shape = Shape((20,), 1, 2, 40, 40)
    rows = make_rows(shape, 3)
    getattr(rows, part)[17, 0, 3] = value
    got = attend(lab, shape, rows)
    assert not np.isfinite(got[17, 0]).all()
    assert lab.fault == LAYER + 1


def test_scores_far_apart(lab: Lab) -> None:
    """The last position outweighs all others, by more than a float holds."""
    shape = Shape((130,), 1)
    rows = make_rows(shape, 2)
    rows.k[-1], rows.q[:] = 60.0, 60.0
    got = attend(lab, shape, rows)
    np.testing.assert_allclose(got[:, 0], np.repeat(rows.v[-1:, 0], 130, axis=0), rtol=1e-6)


def test_types_of_tokens(lab: Lab) -> None:
    rng = np.random.default_rng(5)
    for n, width in ((1, 1), (3, 16), (40, 37)):
        x, table = rng.normal(size=(n, width)), rng.normal(size=(3, width))
        types = rng.integers(0, 3, n).astype(np.int32)
        out = Buffer((n, width), np.float32)
        record = lab.record(
            layout.ADD_TYPES,
            x=lab.put(x.astype(np.float32)),
            weights=lab.put(np.append(table, np.zeros(16)).astype(np.float32)),
            n_in=width,
            out=out.address,
        )
        got = lab.run([("add_types", record)], [out], n_rows=n, types=lab.put(types))[0]
        np.testing.assert_allclose(got, x + table[types], rtol=1e-5, atol=1e-6)
