"""Functions of single values, gates, and columns put elsewhere, against NumPy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import EVERY_ROW, FUNCTIONS, GLU_ACTS, Buffer, Lab, float_bits, nmse, quantize_lines
from numpy.typing import NDArray

from qrt.backends.reference.ops import run
from qrt.formats.quants import QTYPES
from qrt.graph.op import Op
from qrt.graph.ops.elementwise import Elementwise
from qrt.graph.ops.gate import Gate
from qrt.graph.ops.gaussian_topk import GaussianTopK
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.join import Join
from qrt.graph.ops.layer_scale import LayerScale
from qrt.graph.ops.slice import Slice
from qrt.graph.ops.temper import Temper
from qrt.graph.ops.xielu import Xielu
from qrt.kernels import layout

few = settings(max_examples=10, derandomize=True, deadline=None, database=None)
widths = st.sampled_from([1, 15, 16, 64, 67])
n_tokens = st.sampled_from([0, 1, 2, 5, 33])
seeds = st.integers(0, 2**32 - 1)

Floats = NDArray[np.float32]
NOT_FINITE = np.float32([np.nan, np.inf, -np.inf])
NO_FORMS = {"lines": 0, "floats": 0, "tile_rows": 1}


def values(n_rows: int, width: int, seed: int) -> Floats:
    """Some of them large, some zeros and subnormals."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n_rows, width)) * 4).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = rng.choice([0.0, -0.0, 1e-40, 90, -90, 3e4, -3e4])
    return x


def meaning(op: Op, positions: Any = None, **made: Floats) -> NDArray[np.float64]:
    """What the reference backend makes of an op whose inputs and weights are `made`."""
    wide = {name: value.astype(np.float64) for name, value in made.items()}
    step = SimpleNamespace(values=wide, weights=wide, positions=positions)
    with np.errstate(over="ignore"):
        found: NDArray[np.float64] = run(step, op)
    return found


def glu(lab: Lab, act: str, gate: Floats, up: Floats | None) -> list[NDArray[Any]]:
    """The result, and its lines."""
    n_rows, n_in = gate.shape if up is not None else (len(gate), gate.shape[1] // 2)
    out, lines = Buffer((n_rows, n_in), np.float32), Buffer((n_rows, n_in // 32, 64), np.uint8)
    first = lab.put(gate)
    args = lab.record(
        layout.GLU,
        gate=first,
        up=first + 4 * n_in if up is None else lab.put(up),
        stride=gate.shape[1],
        n_in=n_in,
        out=out.address,
        **{**NO_FORMS, "lines": lines.address if n_in % 32 == 0 else 0},
        rows_of=EVERY_ROW,
    )
    return lab.run([(f"glu.{act}", args)], [out, lines], n_rows=n_rows)


@pytest.mark.parametrize("act", GLU_ACTS)
@given(widths, n_tokens, st.booleans(), seeds)
@few
def test_glu(main_lab: Lab, act: Any, n_in: int, n_rows: int, in_one: bool, seed: int) -> None:
    gate = values(n_rows, n_in, seed)
    up = (np.random.default_rng(seed + 1).normal(size=gate.shape) * 4).astype(np.float32)
    if in_one:
        both = np.concatenate([gate, up], axis=1)
        got, quants = glu(main_lab, act, both, None)
        want = meaning(Glu("y", "x", None, act), x=both)
    else:
        got, quants = glu(main_lab, act, gate, up)
        want = meaning(Glu("y", "a", "b", act), a=gate, b=up)
    assert nmse(got, want) <= (5e-7 if act == "gelu" else 1e-10)
    if n_in % 32 == 0:
        model = quantize_lines(got, fused=main_lab.tier != "generic")
        np.testing.assert_array_equal(quants[..., :32].view(np.int8), model["quants"])


@pytest.mark.parametrize("act", GLU_ACTS)
def test_glu_hides_nothing(lab: Lab, act: str) -> None:
    for value in NOT_FINITE:
        for damaged in range(2):
            both = np.ones((2, 1, 40), np.float32)
            both[damaged, 0, [3, 37]] = value
            got, _ = glu(lab, act, *both)
            np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(got[0])), [3, 37])


def elementwise(lab: Lab, function: str, x: Floats, parameter: float, where: str) -> Floats:
    """`where`: "apart", in "place", or at the step's "output"."""
    source, out = Buffer(x.shape, np.float32), Buffer(x.shape, np.float32)
    fill = lab.record(
        layout.ADD,
        a=lab.put(x),
        b=lab.put(np.full_like(x, -0.0)),
        out=source.address,
        n_in=x.shape[1],
        rows_of=EVERY_ROW,
    )
    at = {"apart": (source.address, out.address), "place": (source.address,) * 2, "output": (0, 0)}
    args = lab.record(
        layout.ELEMENTWISE,
        x=at[where][0],
        out=at[where][1],
        n_in=x.shape[1],
        parameter=float_bits(parameter),
        **NO_FORMS,
        rows_of=EVERY_ROW,
    )
    calls = [("add", fill), (f"elementwise.{function}", args)]
    found = lab.run(calls, [source, out], n_rows=len(x), output=source.address)
    return found[1 if where == "apart" else 0]


@pytest.mark.parametrize("function", FUNCTIONS)
@given(widths, n_tokens, st.sampled_from([0.5, 30.0]), seeds)
@few
def test_elementwise(
    lab: Lab, function: Any, width: int, n_rows: int, parameter: float, seed: int
) -> None:
    x = values(n_rows, width, seed)
    got = elementwise(lab, function, x, parameter, "apart")
    want = meaning(Elementwise("y", "x", function, parameter), x=x)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-7 * max(parameter, 4.0))
    for where in ("place", "output"):
        again = elementwise(lab, function, x, parameter, where)
        assert again.tobytes() == got.tobytes()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_elementwise_hides_nothing(lab: Lab, function: str) -> None:
    for value in NOT_FINITE:
        x = np.ones((1, 40), np.float32)
        x[0, [3, 37]] = value
        got = elementwise(lab, function, x, 2.0, "apart")
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(got)), [3, 37])


def test_erf_is_that_of_float64(lab: Lab) -> None:
    """x above 0 alone: below, 1 + erf loses digits."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0, 8, 50000), 10.0 ** rng.uniform(-30, 0, 14000)])
    rows = x.astype(np.float32).reshape(-1, 64)
    got = elementwise(lab, "gelu_erf", rows, 0.0, "apart")
    np.testing.assert_allclose(got, meaning(Elementwise("y", "x", "gelu_erf"), x=rows), rtol=3e-7)


def xielu(lab: Lab, op: Xielu, x: Floats) -> list[NDArray[Any]]:
    """The result, and its lines."""
    n_rows, n_in = x.shape
    out, lines = Buffer(x.shape, np.float32), Buffer((n_rows, n_in // 32, 64), np.uint8)
    args = lab.record(
        layout.XIELU,
        x=lab.put(x),
        out=out.address,
        n_in=n_in,
        alpha_p=float_bits(op.alpha_p),
        alpha_n=float_bits(op.alpha_n),
        beta=float_bits(op.beta),
        eps=float_bits(op.eps),
        **{**NO_FORMS, "lines": lines.address if n_in % 32 == 0 else 0},
        rows_of=EVERY_ROW,
    )
    return lab.run([("xielu", args)], [out, lines], n_rows=n_rows)


@given(widths, n_tokens, st.sampled_from([-1e-6, -0.5]), seeds)
@few
def test_xielu(lab: Lab, width: int, n_rows: int, eps: float, seed: int) -> None:
    x, op = values(n_rows, width, seed), Xielu("y", "x", 0.75, 1.25, 0.5, eps)
    x[np.abs(x) < 1e-6] = -1e-3  # about 0 it leaps, by no more than alpha_n * eps
    got, quants = xielu(lab, op, x)
    np.testing.assert_allclose(got, meaning(op, x=x), rtol=1e-6, atol=1e-6)
    if width % 32 == 0:
        model = quantize_lines(got, fused=lab.tier != "generic")
        np.testing.assert_array_equal(quants[..., :32].view(np.int8), model["quants"])


def test_xielu_hides_nothing(lab: Lab) -> None:
    for value in NOT_FINITE:
        x = np.ones((1, 40), np.float32)
        x[0, [3, 37]] = value
        got, _ = xielu(lab, Xielu("y", "x", 0.75, 1.25, 0.5, -1e-6), x)
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(got)), [3, 37])


@given(widths, n_tokens, st.booleans(), seeds)
@few
def test_gate(lab: Lab, n_in: int, n_rows: int, whole_rows: bool, seed: int) -> None:
    x, gate = values(n_rows, n_in, seed), values(n_rows, 1 if whole_rows else n_in, seed + 1)
    out = Buffer(x.shape, np.float32)
    args = lab.record(
        layout.GATE,
        x=lab.put(x),
        gate=lab.put(gate),
        gate_width=gate.shape[1],
        n_in=n_in,
        out=out.address,
        **NO_FORMS,
        rows_of=EVERY_ROW,
    )
    (got,) = lab.run([("gate", args)], [out], n_rows=n_rows)
    np.testing.assert_allclose(
        got, meaning(Gate("y", "x", "g"), x=x, g=gate), rtol=1e-6, atol=1e-33
    )


@given(widths, n_tokens, st.booleans(), seeds)
@few
def test_layer_scale(lab: Lab, n_in: int, n_rows: int, with_bias: bool, seed: int) -> None:
    x, weight, bias = values(n_rows, n_in, seed), *values(2, n_in, seed + 1)
    out, lines = Buffer(x.shape, np.float32), Buffer((n_rows, n_in // 32, 64), np.uint8)
    args = lab.record(
        layout.LAYER_SCALE,
        x=lab.put(x),
        weight=lab.put(weight),
        bias=lab.put(bias) if with_bias else 0,
        n_in=n_in,
        out=out.address,
        **{**NO_FORMS, "lines": lines.address if n_in % 32 == 0 else 0},
        rows_of=EVERY_ROW,
    )
    got, quants = lab.run([("layer_scale", args)], [out, lines], n_rows=n_rows)
    want = meaning(LayerScale("y", "x", "w", "b" if with_bias else None), x=x, w=weight, b=bias)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-1 if with_bias else 1e-44)
    if n_in % 32 == 0:
        model = quantize_lines(got, fused=lab.tier != "generic")
        np.testing.assert_array_equal(quants[..., :32].view(np.int8), model["quants"])


def gaussian_topk(lab: Lab, x: Floats, n_deviations: float, *, in_place: bool) -> Floats:
    source, out = Buffer(x.shape, np.float32), Buffer(x.shape, np.float32)
    fill = lab.record(
        layout.ADD,
        a=lab.put(x),
        b=lab.put(np.full_like(x, -0.0)),
        out=source.address,
        n_in=x.shape[1],
        rows_of=EVERY_ROW,
    )
    args = lab.record(
        layout.GAUSSIAN_TOPK,
        x=source.address,
        out=source.address if in_place else out.address,
        n_in=x.shape[1],
        n_deviations=float_bits(n_deviations),
        rows_of=EVERY_ROW,
    )
    calls = [("add", fill), ("gaussian_topk", args)]
    found = lab.run(calls, [source, out], n_rows=len(x))
    return found[0 if in_place else 1]


@given(widths, n_tokens, st.sampled_from([1.5, 0.0, -0.5]), st.booleans(), seeds)
@few
def test_gaussian_topk(
    lab: Lab, n_in: int, n_rows: int, n_deviations: float, in_place: bool, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(2.0, 3.0, (n_rows, n_in)).astype(np.float32)
    got = gaussian_topk(lab, x, n_deviations, in_place=in_place)
    want = meaning(GaussianTopK("y", "x", n_deviations), x=x)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)
    if n_in > 16 and n_deviations > 0 and n_rows:
        assert 0 < (got > 0).mean() < 0.2


def test_gaussian_topk_hides_nothing(lab: Lab) -> None:
    for value in NOT_FINITE:
        x = np.ones((2, 40), np.float32)
        x[0, 37] = value
        got = gaussian_topk(lab, x, 1.5, in_place=False)
        assert not np.isfinite(got[0]).any()
        assert not got[1].any()


@given(
    st.sampled_from([(1, 1), (40, 17), (33, 32), (96, 64)]),
    st.integers(1, 3),
    n_tokens,
    st.booleans(),
    seeds,
)
@few
def test_slice_and_join(
    lab: Lab, sizes: tuple[int, int], n_heads: int, n_rows: int, one_b: bool, seed: int
) -> None:
    """Halves of every head are taken and put together the other way round."""
    group, size = sizes
    x = values(n_rows, n_heads * group, seed)
    start = seed % (group - size + 1)
    part = Buffer((n_rows, n_heads * size), np.float32)
    slicing = lab.record(
        layout.SLICE,
        x=lab.put(x),
        n_runs=n_heads,
        group=group,
        start=start,
        n_taken=size,
        out=part.address,
        **NO_FORMS,
        rows_of=EVERY_ROW,
    )
    b_width = 7 if one_b else group
    b = values(n_rows, b_width, seed + 1) if one_b else x
    joined = Buffer((n_rows, n_heads * (size + b_width)), np.float32)
    joining = lab.record(
        layout.JOIN,
        a=part.address,
        b=lab.put(b),
        n_heads=n_heads,
        a_width=size,
        b_width=b_width,
        b_stride=b.shape[1],
        b_step=0 if one_b else b_width,
        out=joined.address,
        **NO_FORMS,
        rows_of=EVERY_ROW,
    )
    calls = [("slice", slicing), ("join", joining)]
    some, both = lab.run(calls, [part, joined], n_rows=n_rows)
    np.testing.assert_array_equal(some, meaning(Slice("y", "x", group, start, size), x=x))
    np.testing.assert_array_equal(both, meaning(Join("y", "a", "b", size, b_width), a=some, b=b))


@given(widths, n_tokens, st.sampled_from([(8192, 1), (10, 0), (1, 0)]), seeds)
@few
def test_temper(lab: Lab, n_in: int, n_rows: int, lengths: tuple[int, int], seed: int) -> None:
    length, offset = lengths
    x = values(n_rows, n_in, seed)
    rng = np.random.default_rng(seed)
    positions = (10.0 ** rng.uniform(0, 6, n_rows)).astype(np.int32)
    out = Buffer(x.shape, np.float32)
    args = lab.record(
        layout.TEMPER,
        x=lab.put(x),
        out=out.address,
        n_in=n_in,
        length=length,
        scale=float_bits(0.1),
        offset=offset,
    )
    step = {"n_rows": n_rows, "positions": lab.put(positions)}
    (got,) = lab.run([("temper", args)], [out], **step)
    want = meaning(Temper("y", "x", length, 0.1, offset), positions.astype(np.int64), x=x)
    np.testing.assert_allclose(got, want, rtol=4e-7, atol=1e-44)
    near = positions + offset < length
    assert got[near].tobytes() == x[near].tobytes()


@pytest.mark.parametrize("qtype", ["F32", "F16", "Q8_0", "Q6_K"])
def test_positions_of_any_type(lab: Lab, qtype: str) -> None:
    kind, rng = QTYPES[qtype], np.random.default_rng(5)
    table = rng.normal(size=(9, 256)).astype(np.float32)
    if kind.quantize is not None:
        rows = kind.quantize(table.reshape(-1, kind.block_size))
    else:
        rows = rng.integers(0, 256, (9 * 256 // kind.block_size, kind.block_bytes), np.uint8)
        rows[:, -2:] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    want = kind.dequantize(rows).reshape(9, 256)
    x, positions = values(5, 256, 3), np.int32([8, 0, 3, 8, 1])
    out = Buffer(x.shape, np.float32)
    args = lab.record(
        layout.ADD_POSITIONS,
        x=lab.put(x),
        weights=lab.put(rows),
        n_in=256,
        out=out.address,
        packed=0,
    )
    step = {"n_rows": 5, "positions": lab.put(positions)}
    (got,) = lab.run([(f"add_positions.{qtype}", args)], [out], **step)
    np.testing.assert_allclose(got, x + want[positions], rtol=1e-6, atol=1e-6)
