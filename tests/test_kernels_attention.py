"""Storing keys and values in pages, and attention over them, against NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import KV_PAIRS, Buffer, Lab, float_bits, nmse, quantize_lines
from numpy.typing import NDArray

from qrt.backends.base import kv_types
from qrt.formats.cache_types import CACHE_BYTES
from qrt.formats.quants import QTYPES
from qrt.kernels import layout
from qrt.kernels.layout import PAGE

few = settings(max_examples=8, derandomize=True, deadline=None, database=None)
DTYPES = {"f16": np.dtype(np.float16), "f32": np.dtype(np.float32)}
BLOCKS = {"q8_0": QTYPES["Q8_0"], "q4_0": QTYPES["Q4_0"]}
TOLERANCES = {"f16": 1e-6, "f32": 1e-9, "q8_0": 5e-4, "q4_0": 3e-2}
PAIRS = [k if k == v else f"{k},{v}" for k, v in KV_PAIRS]
N_PAGES, LAYER = 16, 4
TABLES = ([5, 2, 0, *range(7, 16)], [6, 3], [1])  # for 768, 128, 64 positions; 4 is no one's


@dataclass(frozen=True)
class Shape:
    """What a call needs besides the numbers; `lengths` are those of three sequences."""

    kv_type: str
    n_kv_heads: int
    shared: int  # query heads per kv head
    head_dim: int
    lengths: tuple[int, int, int]
    window: int = 0
    softcap: float = 0.0
    v_width: int = 0  # 0: that of K, head_dim
    v_in_k: bool = False

    @property
    def v_dim(self) -> int:
        return self.v_width or self.head_dim

    @property
    def widths(self) -> tuple[int, int]:
        """Of a row of K and of V in a page."""
        return -(-self.head_dim // 32) * 32, -(-self.v_dim // 32) * 32

    @property
    def types(self) -> tuple[str, str]:
        return kv_types(self.kv_type)

    @property
    def kernel(self) -> str:
        return ".".join(("attention", *self.types, str(self.heads)))

    @property
    def store(self) -> str:
        return ".".join(("store_kv", *self.types))

    @property
    def part_bytes(self) -> list[int]:
        """Bytes of one head's K and V in a page."""
        both = zip(self.widths, self.types, strict=True)
        return [PAGE * width // 32 * CACHE_BYTES[part] for width, part in both]

    @property
    def heads(self) -> int:
        return self.shared if self.shared < 3 else 4


@dataclass(frozen=True)
class Rows:
    """Rows of all sequences, shuffled but in order within each."""

    q: NDArray[np.float32]  # (n_rows, n_heads, head_dim)
    k: NDArray[np.float32]  # (n_rows, n_kv_heads, head_dim)
    v: NDArray[np.float32]  # (n_rows, n_kv_heads, v_dim)
    table_of: NDArray[np.int64]  # (n_rows,)
    positions: NDArray[np.int32]  # (n_rows,)


def make_rows(shape: Shape, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    table_of = rng.permutation(np.repeat(np.arange(3), shape.lengths))
    positions = np.empty(len(table_of), np.int32)
    for table in range(3):
        positions[table_of == table] = np.arange(shape.lengths[table])
    heads = shape.n_kv_heads * shape.shared
    q = rng.normal(size=(len(table_of), heads, shape.head_dim)).astype(np.float32)
    k, v = rng.normal(size=(2, len(table_of), shape.n_kv_heads, shape.head_dim)).astype(np.float32)
    if shape.v_in_k:
        v = k[..., : shape.v_dim]
    elif shape.v_width:
        v = rng.normal(size=(*v.shape[:2], shape.v_dim)).astype(np.float32)
    if shape.softcap:
        q *= 8
    return Rows(q, k, v, table_of, positions)


def of_group_1(lab: Lab, per_row: NDArray[np.int64]) -> int:
    """The tables of a step whose group 0 has none."""
    return lab.put(np.array([0, lab.put(per_row)]))


def attend(lab: Lab, shape: Shape, rows: Rows, first: int = 0) -> tuple[NDArray, NDArray]:
    """(pages, attention of the rows from `first` on) after all rows were stored."""
    page_bytes = shape.n_kv_heads * sum(shape.part_bytes)
    pages = Buffer((N_PAGES, page_bytes), np.uint8)
    out = Buffer((*rows.q[first:].shape[:2], shape.v_dim), np.float32)
    tables = [lab.put(np.array(table, np.int32)) for table in TABLES]
    n_groups = shape.n_kv_heads * -(-shape.shared // shape.heads)
    room = layout.partial_bytes(n_groups, 3, shape.heads, shape.v_dim)
    partials = Buffer((room,), np.uint8)
    lab._inputs.append(partials)
    partials.array[: 8 * layout.SHARED_ROWS * n_groups] = 0
    per_row = np.array(tables)[rows.table_of]
    where = {
        "group": 1,
        "pages": pages.address,
        "n_kv_heads": shape.n_kv_heads,
        "k_width": shape.head_dim,
        "v_width": shape.v_dim,
        "page_stride": page_bytes,
    }
    store = lab.record(
        layout.STORE_KV,
        k=(k := lab.put(rows.k)),
        v=k if shape.v_in_k else lab.put(rows.v),
        v_stride=shape.head_dim if shape.v_in_k else shape.v_dim,
        **where,
    )
    attention = lab.record(
        layout.ATTENTION,
        q=lab.put(rows.q[first:]),
        out=out.address,
        layer=LAYER,
        n_heads=shape.n_kv_heads * shape.shared,
        **where,
        scale=float_bits(shape.head_dim**-0.5),
        window=shape.window,
        softcap=float_bits(shape.softcap),
        partials=partials.address,
    )
    stored = {
        "n_rows": len(rows.positions),
        "positions": lab.put(rows.positions),
        "tables": of_group_1(lab, per_row),
    }
    if not first:
        both = [(shape.store, store), (shape.kernel, attention)]
        kept, got = lab.run(both, [pages, out], **stored)
        return kept, got
    inputs = list(lab._inputs)
    kept = lab.run([(shape.store, store)], [pages], **stored)[0]
    lab._inputs.extend(inputs)
    later = {
        "n_rows": len(rows.positions) - first,
        "positions": lab.put(rows.positions[first:]),
        "tables": of_group_1(lab, per_row[first:]),
    }
    return kept, lab.run([(shape.kernel, attention)], [out], **later)[0]


def kept(part: str, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """x as a cache holds it, 32 values of a head at a time."""
    if part in DTYPES:
        return x.astype(DTYPES[part]).astype(np.float64)
    padded = np.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % 32)))
    kind = BLOCKS[part]
    assert kind.quantize is not None
    held = kind.dequantize(kind.quantize(padded.reshape(-1, 32))).reshape(padded.shape)
    return held[..., : x.shape[2]].astype(np.float64)


def in_lines(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """x as activation lines hold it, the same way."""
    padded = np.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % 32)))
    lines = quantize_lines(padded.reshape(len(x) * x.shape[1], -1), fused=True)
    held = lines["quants"] * lines["scale"][..., None].astype(np.float64)
    return held.reshape(padded.shape)[..., : x.shape[2]]


def reference(shape: Shape, rows: Rows, *, rounded: bool) -> NDArray[np.float64]:
    q, k, v = (x.astype(np.float64) for x in (rows.q, rows.k, rows.v))
    if rounded:
        k, v = (kept(part, x) for part, x in zip(shape.types, (rows.k, rows.v), strict=True))
    if rounded and shape.types[0] in BLOCKS:
        scale = np.float32(shape.head_dim**-0.5)
        q = in_lines(rows.q * scale) / scale
    want = np.empty((*rows.q.shape[:2], shape.v_dim))
    for t, position in enumerate(rows.positions):
        seen = (rows.table_of == rows.table_of[t]) & (rows.positions <= position)
        if shape.window:
            seen &= rows.positions > position - shape.window
        for head in range(rows.q.shape[1]):
            kv = head // shape.shared
            scores = k[seen, kv] @ q[t, head] * shape.head_dim**-0.5
            if shape.softcap:
                scores = shape.softcap * np.tanh(scores / shape.softcap)
            weights = np.exp(scores - scores.max())
            want[t, head] = weights @ v[seen, kv] / weights.sum()
    return want


def check(lab: Lab, shape: Shape, seed: int) -> None:
    rows = make_rows(shape, seed)
    pages, got = attend(lab, shape, rows)
    blocks = set(shape.types) & BLOCKS.keys()
    assert nmse(got, reference(shape, rows, rounded=True)) <= (1e-8 if blocks else 1e-9)
    if not (blocks and shape.softcap):  # which the test makes steep
        tolerance = max(TOLERANCES[part] for part in shape.types)
        assert nmse(got, reference(shape, rows, rounded=False)) <= tolerance
    if not blocks:
        check_pages(shape, rows, pages)


def check_pages(shape: Shape, rows: Rows, pages: NDArray) -> None:
    """K is (width, PAGE), V (PAGE, width), padded by zeros; all else is untouched."""
    (dtype,) = {DTYPES[part] for part in shape.types}
    want = np.full(pages.shape, 0xFF, np.uint8).view(dtype)
    k_width, v_width = shape.widths
    heads = want.reshape(N_PAGES, shape.n_kv_heads, -1)
    k = heads[..., : k_width * PAGE].reshape(N_PAGES, -1, k_width, PAGE)
    v = heads[..., k_width * PAGE :].reshape(N_PAGES, -1, PAGE, v_width)
    for t, position in enumerate(rows.positions):
        page, slot = TABLES[rows.table_of[t]][position // PAGE], position % PAGE
        k[page, :, :, slot] = np.pad(rows.k[t], ((0, 0), (0, k_width - shape.head_dim)))
        v[page, :, slot] = np.pad(rows.v[t], ((0, 0), (0, v_width - shape.v_dim)))
    assert pages.tobytes() == want.tobytes()


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
    rows = Rows(values, values, values, np.zeros(len(values), np.int64), positions)
    dtype = np.dtype(np.float16)
    pages = Buffer((N_PAGES, 2, PAGE * 256), dtype)
    store = main_lab.record(
        layout.STORE_KV,
        k=main_lab.put(values),
        v=main_lab.put(values),
        v_stride=256,
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
    got = np.concatenate([kept[page, 1].reshape(PAGE, 256) for page in TABLES[0]])[: len(values)]
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
