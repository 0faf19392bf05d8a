"""What AltUp makes of several residual streams, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import EVERY_ROW, Buffer, Lab, float_bits
from test_kernels_elementwise import NOT_FINITE, Floats, meaning

from qrt.graph.ops.mix import Mix
from qrt.graph.ops.rescale import Rescale
from qrt.kernels import layout

few = settings(max_examples=20, derandomize=True, deadline=None, database=None)
widths = st.sampled_from([1, 15, 16, 64, 67])
n_tokens = st.sampled_from([0, 1, 2, 5, 33])
seeds = st.integers(0, 2**32 - 1)


def normal(n_rows: int, width: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(n_rows, width)).astype(np.float32)


def mix(lab: Lab, op: Mix, x: Floats, weights: Floats | None, residual: Floats | None) -> Floats:
    width = x.shape[1] // op.n_in
    out = Buffer((len(x), op.n_out * width), np.float32)
    args = lab.record(
        layout.MIX,
        x=lab.put(x),
        weights=0 if weights is None else lab.put(weights),
        fixed=lab.put(np.float32(op.fixed)),
        residual=0 if residual is None else lab.put(residual),
        out=out.address,
        n_in=op.n_in,
        n_out=op.n_out,
        width=width,
        rows_of=EVERY_ROW,
    )
    found: Floats = lab.run([("mix", args)], [out], n_rows=len(x))[0]
    return found


@given(
    widths,
    n_tokens,
    st.sampled_from([(1, 1), (4, 4), (1, 4), (3, 1), (2, 5)]),
    st.booleans(),
    st.booleans(),
    seeds,
)
@few
def test_mix(
    lab: Lab,
    width: int,
    n_rows: int,
    sizes: tuple[int, int],
    by_row: bool,
    has_residual: bool,
    seed: int,
) -> None:
    n_in, n_out = sizes
    fixed = tuple(normal(1, n_in * n_out, seed)[0].tolist())
    op = Mix("y", "x", n_in, fixed, "w" if by_row else None)
    x, weights = normal(n_rows, n_in * width, seed + 1), normal(n_rows, n_in * n_out, seed + 2)
    residual = normal(n_rows, n_out * width, seed + 3)
    got = mix(lab, op, x, weights if by_row else None, residual if has_residual else None)
    want = meaning(op, x=x, w=weights) + (residual if has_residual else 0)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_mix_hides_nothing(lab: Lab, damaged: int) -> None:
    for value in NOT_FINITE:
        made = [np.ones((2, 40), np.float32), np.ones((2, 1), np.float32)]
        made.append(np.ones((2, 40), np.float32))
        made[damaged][0, -1] = value
        got = mix(lab, Mix("y", "x", 1, (0.5,), "w"), *made)
        assert not np.isfinite(got[0, 39])
        assert np.isfinite(got[1]).all()


def rescale(lab: Lab, x: Floats, like: Floats) -> Floats:
    out = Buffer(x.shape, np.float32)
    args = lab.record(
        layout.RESCALE,
        x=lab.put(x),
        like=lab.put(like),
        out=out.address,
        n_in=like.shape[1],
        n_runs=x.shape[1] // like.shape[1],
        floor=float_bits(1e-5),
        rows_of=EVERY_ROW,
    )
    found: Floats = lab.run([("rescale", args)], [out], n_rows=len(x))[0]
    return found


@given(widths, n_tokens, st.sampled_from([1, 3]), st.sampled_from([1e-4, 1.0, 50.0]), seeds)
@few
def test_rescale(lab: Lab, width: int, n_rows: int, n_runs: int, size: float, seed: int) -> None:
    x = normal(n_rows, n_runs * width, seed) * np.float32(size)
    like = normal(n_rows, width, seed + 1) * 7
    got = rescale(lab, x, like)
    np.testing.assert_allclose(got, meaning(Rescale("y", "x", "l", 1e-5), x=x, l=like), rtol=2e-6)


def test_rescale_hides_nothing(lab: Lab) -> None:
    for value in NOT_FINITE:
        for damaged in range(2):
            made = np.ones((2, 2, 40), np.float32)
            made[damaged, 0, 37] = value
            got = rescale(lab, *made)
            assert not np.isfinite(got[0, 37])
            assert (got[1] == 1.0).all()
