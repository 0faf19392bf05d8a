"""Storing keys and values in pages, and attention over them, against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention import (
    DTYPES,
    LAYER,
    N_PAGES,
    PAIRS,
    TABLES,
    Rows,
    Shape,
    attend,
    check,
    make_rows,
    of_group_1,
    reference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Buffer, Lab, nmse

from qrt.kernels import layout
from qrt.kernels.layout import PAGE

few = settings(max_examples=8, derandomize=True, deadline=None, database=None)


@pytest.mark.parametrize("kv_type", DTYPES)
@pytest.mark.parametrize("shared", [1, 2, 3, 4, 7, 8])
@given(
    st.integers(1, 2),
    st.sampled_from([1, 5, 31, 32, 40, 64, 80, 112]),
    st.sampled_from([(1, 0, 0), (2, 33, 5), (64, 1, 63), (70, 65, 3), (131, 20, 64)]),
    st.sampled_from([0, 1, 3, 40, 64, 100]),
    st.sampled_from([0.0, 0.0, 5.0]),
    st.integers(0, 2**32 - 1),
)
@settings(few, max_examples=4)
def test_attention(
    lab: Lab,
    kv_type: str,
    shared: int,
    n_kv_heads: int,
    head_dim: int,
    lengths: tuple[int, int, int],
    window: int,
    softcap: float,
    seed: int,
) -> None:
    check(lab, Shape(kv_type, n_kv_heads, shared, head_dim, lengths, window, softcap), seed)


@pytest.mark.parametrize("softcap", [0.0, 5.0])
def test_attention_on_every_tier(main_lab: Lab, softcap: float) -> None:
    check(main_lab, Shape("f16", 2, 1, 40, (70, 5, 1), 50, softcap), 1)


@pytest.mark.parametrize("kv_type", PAIRS)
def test_a_row_does_not_see_its_neighbours(lab: Lab, kv_type: str) -> None:
    """The same bits alone, with others, and whatever stood in the pages before."""
    shape = Shape(kv_type, 2, 2, 48, (67, 40, 9))
    rows = make_rows(shape, 4)
    _, together = attend(lab, shape, rows)
    _, later = attend(lab, shape, rows, first=len(rows.positions) - 3)
    assert together[-3:].tobytes() == later.tobytes()


@pytest.mark.parametrize("kv_type", PAIRS)
@pytest.mark.parametrize("window", [0, 300, 100])
@pytest.mark.parametrize("shared", [1, 7])
def test_splits_of_a_long_row(lab: Lab, kv_type: str, window: int, shared: int) -> None:
    """A few long rows, whose splits threads share, have the bits they have among many rows."""
    shape = Shape(kv_type, 2, shared, 40, (700, 20, 3), window)
    rows = make_rows(shape, 5)
    _, together = attend(lab, shape, rows)
    want = reference(shape, rows, rounded=True)
    assert nmse(together, want) <= 1e-8
    for n_rows in (1, 16):
        _, later = attend(lab, shape, rows, first=len(rows.positions) - n_rows)
        assert together[-n_rows:].tobytes() == later.tobytes()


@pytest.mark.parametrize("window", [0, 8300])
def test_splits_grow_with_what_a_row_sees(lab: Lab, window: int) -> None:
    """Beyond MOST_SPLITS of them they are twice as long, shared out or not."""
    n = layout.MOST_SPLITS * layout.SPLIT + 350
    shape = Shape("f16", 1, 2, 32, (n, 0, 0), window, n_pages=-(-n // PAGE) + 4)
    rows = make_rows(shape, 6)
    _, many = attend(lab, shape, rows, first=n - 20)
    assert nmse(many, reference(shape, rows, rounded=True, first=n - 20)) <= 1e-8
    _, later = attend(lab, shape, rows, first=n - 3)
    assert many[-3:].tobytes() == later.tobytes()


OPTIONS = (
    {"sinks": True},
    {"max_bias": 8.0},
    {"window": 100, "chunked": True},
    {"window": 300, "chunked": True, "sinks": True, "max_bias": 2.0, "softcap": 5.0},
    {"v_width": 24, "v_in_k": True},
    {"v_width": 40, "v_in_k": True, "window": 100},
)


@pytest.mark.parametrize("kv_type", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("shared", [1, 2, 7])
@pytest.mark.parametrize("options", OPTIONS)
def test_sinks_slopes_chunks_and_values_in_keys(
    lab: Lab, kv_type: str, shared: int, options: dict
) -> None:
    """As NumPy has it, and with the same bits in few rows, whose splits threads share."""
    shape = Shape(kv_type, 2, shared, 40, (700, 65, 3), **options)
    rows = make_rows(shape, 7)
    _, together = attend(lab, shape, rows)
    assert nmse(together, reference(shape, rows, rounded=True)) <= 1e-8
    for n_rows in (1, 16):
        _, later = attend(lab, shape, rows, first=len(rows.positions) - n_rows)
        assert together[-n_rows:].tobytes() == later.tobytes()


def test_a_sink_far_above_or_below_all_scores(lab: Lab) -> None:
    shape = Shape("f32", 1, 2, 32, (300, 0, 0), sinks=True)
    rows = make_rows(shape, 2)
    rows.sinks[:] = 500.0, -500.0
    _, got = attend(lab, shape, rows)
    assert np.abs(got[:, 0]).max() <= 1e-30
    _, without = attend(lab, replace(shape, sinks=False), rows)
    assert got[:, 1].tobytes() == without[:, 1].tobytes()


def test_a_sink_that_is_not_finite_shows(lab: Lab) -> None:
    shape = Shape("f16", 1, 2, 40, (5, 0, 0), sinks=True)
    rows = make_rows(shape, 3)
    for value in (np.nan, np.inf):
        rows.sinks[1] = value
        _, got = attend(lab, shape, rows)
        assert np.isfinite(got[:, 0]).all()
        assert not np.isfinite(got[:, 1]).any()
        assert lab.fault == LAYER + 1


@pytest.mark.parametrize("kv_type", PAIRS)
@pytest.mark.parametrize(
    ("k_width", "v_width", "v_in_k"), [(48, 32, False), (40, 100, False), (72, 64, True)]
)
def test_keys_and_values_of_other_widths(
    lab: Lab, kv_type: str, k_width: int, v_width: int, v_in_k: bool
) -> None:
    lengths = (300, 65, 3)
    check(lab, Shape(kv_type, 2, 4, k_width, lengths, 0, 0.0, v_width, v_in_k), 6)


def test_the_largest_head(lab: Lab) -> None:
    check(lab, Shape("f16", 1, 4, layout.MAX_HEAD_DIM, (66, 1, 3)), 9)


def test_scores_far_apart(lab: Lab) -> None:
    """The first position outweighs all others, by more than a float holds."""
    shape = Shape("f32", 1, 1, 32, (130, 0, 0))
    rows = make_rows(shape, 2)
    rows.k[0], rows.q[:] = 60.0, 60.0
    _, got = attend(lab, shape, rows)
    np.testing.assert_allclose(got[:, 0], np.repeat(rows.v[:1, 0], 130, axis=0), rtol=1e-6)


TINY = (2**-24, 2**-25, 1.5 * 2**-25, 3 * 2**-25, 2**-14, 2**-14 - 2**-25, 2**-126, 1e-45)
LARGE = (65504, 65519.996, 65520, 1e6, 3e38, np.inf, np.nan)
F32_EDGES = np.float32([0, *TINY, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20, *LARGE])


def test_floats_round_to_the_nearest_half(main_lab: Lab) -> None:
    """Ties go to even; large values become infinite, as NumPy has it."""
    bits = np.random.default_rng(0).integers(0, 2**32, 64 * 128, dtype=np.uint32)
    bits[: len(bits) // 2] = bits[: len(bits) // 2] & 0x8FFFFFFF | 0x38000000  # halves' range
    halves = np.arange(64 * 32, dtype=np.uint16).view(np.float16).astype(np.float32)
    values = np.concatenate([bits.view(np.float32), halves, F32_EDGES, -F32_EDGES])
    values = np.pad(values, (0, -len(values) % 256)).reshape(-1, 1, 256)
    assert len(values) <= 3 * PAGE
    positions = np.arange(len(values), dtype=np.int32)
    first_table = np.zeros(len(values), np.int64)
    rows = Rows(values, values, values, first_table, positions, np.zeros(1, np.float32))
    dtype = np.dtype(np.float16)
    pages = Buffer((N_PAGES, 2, PAGE * 256), dtype)
    store = main_lab.record(
        layout.STORE_KV,
        k=main_lab.put(values),
        v=main_lab.put(values),
        group=1,
        pages=pages.address,
        n_kv_heads=1,
        k_width=256,
        v_width=256,
        page_stride=2 * PAGE * 256 * 2,
    )
    table = main_lab.put(np.int32(TABLES[0]))
    step = {
        "n_rows": len(values),
        "positions": main_lab.put(rows.positions),
        "tables": of_group_1(main_lab, np.full(len(values), table)),
    }
    kept = main_lab.run([("store_kv.f16.f16", store)], [pages], **step)[0]
    got = np.concatenate([kept[page, 0].reshape(256, PAGE).T for page in TABLES[0]])
    got = got[: len(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        want = values[:, 0].astype(np.float16)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(got[numbers].view(np.uint16), want[numbers].view(np.uint16))


@pytest.mark.parametrize("kv_type", [pair for pair in PAIRS if pair not in DTYPES])
@pytest.mark.parametrize(
    ("n_kv_heads", "shared", "head_dim", "lengths", "window", "softcap"),
    [
        (1, 1, 1, (1, 0, 0), 0, 0.0),
        (2, 4, 64, (130, 65, 3), 0, 0.0),
        (2, 2, 80, (64, 17, 64), 0, 0.0),
        (1, 7, 128, (5, 128, 33), 20, 0.0),
        (3, 3, 33, (40, 1, 20), 0, 5.0),
        *((1, 1, head_dim, (70, 3, 1), 0, 0.0) for head_dim in (32, 40, 48, 96, 112)),
    ],
)
def test_a_cache_of_blocks(
    lab: Lab,
    kv_type: str,
    n_kv_heads: int,
    shared: int,
    head_dim: int,
    lengths: tuple[int, int, int],
    window: int,
    softcap: float,
) -> None:
    check(lab, Shape(kv_type, n_kv_heads, shared, head_dim, lengths, window, softcap), 11)
