"""Convolutions and scans over positions, against float64, with states before and behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Buffer, Lab, nmse
from recurrent import Floats, Segments, by_lanes, random_segments, run_kernel

from qrt.graph.op import Op, Part
from qrt.graph.ops.conv import Conv
from qrt.graph.ops.selective_scan import SelectiveScan
from qrt.graph.ops.ssd import Ssd
from qrt.kernels import layout

some = settings(max_examples=25, derandomize=True, deadline=None, database=None)
lengths = st.lists(st.sampled_from([1, 2, 3, 5, 8, 20, 70]), min_size=1, max_size=3)
seeds = st.integers(0, 2**32 - 1)


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(size=shape).astype(np.float32)


def check(
    lab: Lab,
    kernel: str,
    op: Op,
    segments: Segments,
    values: Mapping[str, Floats],
    weights: Mapping[str, Floats],
    record: Any,
    numbers: tuple[str, ...],
) -> Floats:
    """Runs a kernel and compares what it makes with the reference; the states that it leaves, as
    the reference has them. `numbers` are fields that the record has as the op has them.
    """
    out = Buffer(
        (segments.n_rows, op.width({k: v.shape[1] for k, v in values.items()})), np.float32
    )

    def place(field: str) -> dict[str, int]:
        part = getattr(op, field)
        if isinstance(part, Part):
            x = values[part.value]
            return {field: lab.put(x) + 4 * part.start, f"{field}_stride": 4 * x.shape[1]}
        if part is None:
            return {field: 0, f"{field}_stride": 0}
        weight = weights[part]
        return {field: lab.put(by_lanes(weight) if weight.ndim > 1 else weight)}

    def fields(slots: Mapping[str, int]) -> Any:
        found = {"out": out.address, **slots, **{name: getattr(op, name) for name in numbers}}
        for field in record._fields:
            if field not in (*found, "size") and not field.endswith("_stride"):
                found |= place(field)
        return lab.record(record, **{k: v for k, v in found.items() if k in record._fields})

    n, n_state = len(segments.lengths), getattr(op, "n_state", 0)
    before = segments.before
    if n_state:  # lanes are channels
        before = before.reshape(n, -1, 16, n_state).swapaxes(2, 3).reshape(n, -1)
    got, left = run_kernel(lab, kernel, segments, before, fields, out)
    assert nmse(got, segments.meaning(op, values, weights)) < 1e-10
    if n_state:
        left = left.reshape(n, -1, n_state, 16).swapaxes(2, 3)
    return left.reshape(n, -1)


@pytest.mark.parametrize("silu", [False, True])
@given(st.sampled_from([1, 15, 16, 40, 67, 96]), st.integers(2, 8), lengths, st.booleans(), seeds)
@some
def test_conv(
    lab: Lab, silu: bool, dim: int, n_taps: int, rows: list[int], has_bias: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    op = Conv("y", Part("x", 3), "weight", "bias" if has_bias else None, 0, dim, n_taps, silu)
    segments = random_segments(rows, (n_taps - 1) * dim, rng)
    values = {"x": normal(rng, segments.n_rows, dim + 7)}
    weights = {"weight": normal(rng, dim, n_taps), "bias": normal(rng, dim)}
    numbers = ("dim", "n_taps")
    kernel = f"conv.{'silu' if silu else 'plain'}"
    left = check(lab, kernel, op, segments, values, weights, layout.CONV, numbers)
    for i, state in segments.left.items():
        np.testing.assert_array_equal(left[i], state.reshape(-1))


@given(
    st.sampled_from([(1, 1), (2, 1), (3, 3), (6, 2)]),
    st.sampled_from([1, 8, 16, 20, 64]),
    st.sampled_from([1, 4, 16, 21, 50]),
    lengths,
    st.booleans(),
    st.booleans(),
    seeds,
)
@some
def test_ssd(
    lab: Lab,
    heads: tuple[int, int],
    head_dim: int,
    n_state: int,
    rows: list[int],
    gated: bool,
    has_bias: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    n_heads, n_groups = heads
    dim, n = n_heads * head_dim, n_groups * n_state
    parts = (Part("x"), Part("x", dim), Part("x", dim + n))
    dt, gate = Part("z", dim), Part("z") if gated else None
    bias = "bias" if has_bias else None
    op = Ssd("y", *parts, dt, gate, "a", "d", bias, 0, n_heads, head_dim, n_groups, n_state)
    segments = random_segments(rows, n_heads * -(-head_dim // 16) * 16 * n_state, rng)
    values = {
        "x": normal(rng, segments.n_rows, dim + 2 * n),
        "z": normal(rng, segments.n_rows, dim + n_heads),
    }
    weights = {"a": -np.exp(normal(rng, n_heads)), "d": normal(rng, n_heads)}
    weights["bias"] = normal(rng, n_heads)
    numbers = ("n_heads", "head_dim", "n_groups", "n_state")
    left = check(lab, "ssd", op, segments, values, weights, layout.SSD, numbers)
    for i, state in segments.left.items():
        assert nmse(left[i].reshape(state.shape)[:, :head_dim], state[:, :head_dim]) < 1e-10


@given(st.sampled_from([1, 15, 16, 40]), st.sampled_from([1, 4, 16, 21]), lengths, seeds)
@some
def test_selective_scan(lab: Lab, dim: int, n_state: int, rows: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = (Part("z"), Part("bc"), Part("bc", n_state), Part("dt"), Part("z", dim))
    op = SelectiveScan("y", *parts, "a", "d", 0, dim, n_state)
    segments = random_segments(rows, -(-dim // 16) * 16 * n_state, rng)
    values = {
        "z": normal(rng, segments.n_rows, 2 * dim),
        "bc": normal(rng, segments.n_rows, 2 * n_state),
        "dt": normal(rng, segments.n_rows, dim),
    }
    weights = {"a": -np.exp(normal(rng, dim, n_state)), "d": normal(rng, dim)}
    record, numbers = layout.SELECTIVE_SCAN, ("dim", "n_state")
    left = check(lab, "selective_scan", op, segments, values, weights, record, numbers)
    for i, state in segments.left.items():
        assert nmse(left[i].reshape(state.shape)[:dim], state[:dim]) < 1e-10
