"""Rows of logits: masks, and what a sampler needs of each, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Buffer, Lab
from numpy.typing import NDArray

from qrt.backends.base import PlainRows
from qrt.kernels import layout
from qrt.runtime.sampler.candidates import largest

few = settings(max_examples=12, derandomize=True, deadline=None, database=None)
widths = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 67, 500, 4099, 9000])
n_tokens = st.sampled_from([0, 1, 2, 5])
seeds = st.integers(0, 2**32 - 1)

Floats = NDArray[np.float32]


def rows_of(n_rows: int, width: int, seed: int) -> Floats:
    """Logits of which some are equal, some -inf, some zeros of either sign and subnormals."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, width)) * 4
    x = x if seed % 2 else np.round(x)
    x[rng.random(x.shape) < 0.1] = -np.inf
    x[rng.random(x.shape) < 0.05] = rng.choice([0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38])
    return x.astype(np.float32)


def addresses(lab: Lab, arrays: list[NDArray[Any]]) -> int:
    """A table of where they lie."""
    return lab.put(np.array([lab.put(array) for array in arrays], np.int64))


@given(n_tokens, widths, seeds)
@few
def test_mask(main_lab: Lab, n_rows: int, width: int, seed: int) -> None:
    x = rows_of(n_rows, width, seed)
    rng = np.random.default_rng(seed)
    n_words = -(-width // 32)
    masks = [rng.integers(0, 2**32, n_words, np.uint32) & ~np.uint32(seed % 3) for _ in x]
    out = Buffer(x.shape, np.float32)
    args = main_lab.record(
        layout.MASK,
        rows=addresses(main_lab, list(x)),
        masks=addresses(main_lab, masks),
        out=out.address,
        n_in=width,
        n_rows=n_rows,
    )
    (got,) = main_lab.run([("mask", args)], [out])
    bits = [[int(mask[i // 32]) >> i % 32 & 1 for i in range(width)] for mask in masks]
    want = np.where(np.array(bits).reshape(x.shape), x, -np.inf)
    assert got.tobytes() == want.astype(np.float32).tobytes()
    if n_rows:
        assert PlainRows().masked(list(x), masks).tobytes() == got.tobytes()


def survey(lab: Lab, x: Floats, wanted: list[int], room: int) -> list[NDArray[Any]]:
    """peaks, sums, counts, ids and logits"""
    n_rows, width = x.shape
    places = {
        "peaks": Buffer((n_rows,), np.float32),
        "sums": Buffer((n_rows,), np.float32),
        "counts": Buffer((n_rows,), np.int64),
        "ids": Buffer((n_rows, room), np.int64),
        "logits": Buffer((n_rows, room), np.float32),
    }
    args = lab.record(
        layout.SURVEY,
        rows=addresses(lab, list(x)),
        wanted=lab.put(np.array(wanted, np.int64)),
        n_in=width,
        n_rows=n_rows,
        room=room,
        **{name: buffer.address for name, buffer in places.items()},
    )
    return lab.run([("survey", args)], list(places.values()))


@given(n_tokens, widths, st.sampled_from([0, 1, 2, 40, 300]), st.sampled_from([3, 1024]), seeds)
@few
def test_what_matters_is_listed(
    main_lab: Lab, n_rows: int, width: int, wanted: int, room: int, seed: int
) -> None:
    x = rows_of(n_rows, width, seed)
    _, sums, counts, ids, logits = survey(main_lab, x, [wanted] * n_rows, room)
    for row, n, found, values in zip(x, counts.tolist(), ids, logits, strict=True):
        n_put = min(n, room)
        assert (np.diff(found[:n_put]) > 0).all()
        np.testing.assert_array_equal(values[:n_put], row[found[:n_put]])
        assert (found[n_put:] == -1).all()  # as it was
        finite = np.count_nonzero(row > -np.inf) if wanted else 0
        assert min(wanted, finite) <= n <= finite
        if wanted and n <= room:
            floor = np.sort(row)[::-1][: min(wanted, finite)].min(initial=np.inf)
            assert set(np.flatnonzero((row >= floor) & (row > -np.inf))) <= set(found[:n].tolist())
            short = found[:n][largest(values[:n], wanted)]
            np.testing.assert_array_equal(short, largest(row, wanted)[: min(wanted, finite)])
    np.testing.assert_array_equal(np.isfinite(sums), np.isfinite(x).all(axis=1))


@given(n_tokens, widths, seeds)
@few
def test_powers_are_added_up(main_lab: Lab, n_rows: int, width: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n_rows, width)).astype(np.float32)
    x = np.float32(1 + seed % 30) * x
    peaks, sums, _, _, _ = survey(main_lab, x, [0] * n_rows, 1)
    np.testing.assert_array_equal(peaks, x.max(axis=1, initial=-np.inf))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(sums, np.exp(wide - peaks[:, None]).sum(axis=1), rtol=1e-6)


def test_few_more_are_listed_than_asked_for(lab: Lab) -> None:
    x = np.random.default_rng(1).normal(size=(3, 128_256)).astype(np.float32)
    peaks, sums, counts, _, _ = survey(lab, x, [1, 40, 128], 1024)
    np.testing.assert_allclose(sums, np.exp(x - np.float64(peaks[:, None])).sum(axis=1), rtol=1e-6)
    assert (counts >= [1, 40, 128]).all()
    assert (counts <= [4, 120, 384]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 31, 40])
def test_a_row_that_is_not_finite_is_told(lab: Lab, bad: float, at: int) -> None:
    x = np.zeros((2, 41), np.float32)
    x[1, at] = bad
    assert np.isnan(survey(lab, x, [1, 1], 64)[1]).tolist() == [False, True]
