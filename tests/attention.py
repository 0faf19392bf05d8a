"""Keys and values stored in pages by kernels, attention over them, and what NumPy makes of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from kernels import KV_PAIRS, Buffer, Lab, float_bits, nmse, quantize_lines
from numpy.typing import NDArray

from qrt.backends.base import kv_types
from qrt.formats.cache_types import CACHE_BYTES
from qrt.formats.quants import QTYPES
from qrt.graph.ops.attention import alibi_slopes
from qrt.kernels import layout
from qrt.kernels.layout import PAGE

DTYPES = {"f16": np.dtype(np.float16), "f32": np.dtype(np.float32)}
BLOCKS = {"q8_0": QTYPES["Q8_0"], "q4_0": QTYPES["Q4_0"]}
TOLERANCES = {"f16": 1e-6, "f32": 1e-9, "q8_0": 5e-4, "q4_0": 3e-2}
PAIRS = [k if k == v else f"{k},{v}" for k, v in KV_PAIRS]
N_PAGES, LAYER = 16, 4
NARROW = {
    "generic",
    "avx2",
    "avxvnni",
    "neon_dotprod",
    "neon_i8mm",
}  # tiers of registers under 512 bits
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
    chunked: bool = False
    sinks: bool = False
    max_bias: float = 0.0
    n_pages: int = N_PAGES

    @property
    def tables(self) -> tuple[list[int], ...]:
        """Of three sequences; a longer first one has the pages from N_PAGES on as well."""
        return ([*TABLES[0], *range(N_PAGES, self.n_pages)], *TABLES[1:])

    @property
    def v_dim(self) -> int:
        return self.v_width or self.head_dim

    @property
    def widths(self) -> tuple[int, int]:
        """Of a row of K and of V in a page."""
        return -(-self.head_dim // 32) * 32, -(-self.v_dim // 32) * 32

    @property
    def stored(self) -> tuple[str, str]:
        """As the names of kernels have it."""
        return self.types[0], "k" if self.v_in_k else self.types[1]

    @property
    def types(self) -> tuple[str, str]:
        return kv_types(self.kv_type)

    @property
    def kernel(self) -> str:
        bias = ("alibi",) if self.max_bias else ()
        return ".".join(("attention", *self.stored, str(self.heads), *bias))

    @property
    def store(self) -> str:
        return ".".join(("store_kv", *self.stored))

    @property
    def part_bytes(self) -> list[int]:
        """Bytes of one head's K and V in a page."""
        both = zip(self.widths, self.stored, strict=True)
        return [PAGE * width // 32 * CACHE_BYTES.get(part, 0) for width, part in both]

    @property
    def heads(self) -> int:
        return self.shared if self.shared < 3 else 4

    @property
    def slopes(self) -> NDArray[np.float64]:
        return alibi_slopes(self.n_kv_heads * self.shared, self.max_bias)


@dataclass(frozen=True)
class Rows:
    """Rows of all sequences, shuffled but in order within each."""

    q: NDArray[np.float32]  # (n_rows, n_heads, head_dim)
    k: NDArray[np.float32]  # (n_rows, n_kv_heads, head_dim)
    v: NDArray[np.float32]  # (n_rows, n_kv_heads, v_dim)
    table_of: NDArray[np.int64]  # (n_rows,)
    positions: NDArray[np.int32]  # (n_rows,)
    sinks: NDArray[np.float32]  # (n_heads,)


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
    sinks = (rng.normal(size=heads) * 4).astype(np.float32)
    return Rows(q, k, v, table_of, positions, sinks)


def of_group_1(lab: Lab, per_row: NDArray[np.int64]) -> int:
    """The tables of a step whose group 0 has none."""
    return lab.put(np.array([0, lab.put(per_row)]))


def attend(lab: Lab, shape: Shape, rows: Rows, first: int = 0) -> tuple[NDArray, NDArray]:
    """(pages, attention of the rows from `first` on) after all rows were stored."""
    page_bytes = shape.n_kv_heads * sum(shape.part_bytes)
    pages = Buffer((shape.n_pages, page_bytes), np.uint8)
    out = Buffer((*rows.q[first:].shape[:2], shape.v_dim), np.float32)
    tables = [lab.put(np.array(table, np.int32)) for table in shape.tables]
    n_groups = shape.n_kv_heads * -(-shape.shared // shape.heads)
    room = layout.partial_bytes(n_groups, PAGE * shape.n_pages, shape.heads, shape.v_dim)
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
        k=lab.put(rows.k),
        v=0 if shape.v_in_k else lab.put(rows.v),
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
        chunked=shape.chunked,
        softcap=float_bits(shape.softcap),
        sinks=lab.put(rows.sinks) if shape.sinks else 0,
        bias=lab.put(shape.slopes.astype(np.float32)) if shape.max_bias else 0,
        bias_stride=4,
        sees=0,
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


def reference(shape: Shape, rows: Rows, *, rounded: bool, first: int = 0) -> NDArray[np.float64]:
    """Attention of the rows from `first` on."""
    q, k, v = (x.astype(np.float64) for x in (rows.q, rows.k, rows.v))
    if rounded:
        k, v = (kept(part, x) for part, x in zip(shape.types, (rows.k, rows.v), strict=True))
        v = k[..., : shape.v_dim] if shape.v_in_k else v
    if rounded and shape.types[0] in BLOCKS:
        scale = np.float32(shape.head_dim**-0.5)
        q = in_lines(rows.q * scale) / scale
    want = np.empty((*rows.q.shape[:2], shape.v_dim))
    for t in range(first, len(rows.positions)):
        position = rows.positions[t]
        seen = (rows.table_of == rows.table_of[t]) & (rows.positions <= position)
        if shape.chunked:
            seen &= rows.positions >= position // shape.window * shape.window
        elif shape.window:
            seen &= rows.positions > position - shape.window
        for head in range(rows.q.shape[1]):
            kv = head // shape.shared
            scores = k[seen, kv] @ q[t, head] * shape.head_dim**-0.5
            if shape.softcap:
                scores = shape.softcap * np.tanh(scores / shape.softcap)
            scores -= shape.slopes[head] * (position - rows.positions[seen])
            sink = rows.sinks[head].astype(np.float64) if shape.sinks else -np.inf
            most = max(sink, scores.max())
            weights = np.exp(scores - most)
            want[t, head] = weights @ v[seen, kv] / (weights.sum() + np.exp(sink - most))
    return want[first:]


def check(lab: Lab, shape: Shape, seed: int) -> None:
    rows = make_rows(shape, seed)
    pages, got = attend(lab, shape, rows)
    blocks = set(shape.types) & BLOCKS.keys()
    assert nmse(got, reference(shape, rows, rounded=True)) <= (1e-8 if blocks else 1e-9)
    if not (blocks and shape.softcap):  # which the test makes steep
        tolerance = max(TOLERANCES[part] for part in shape.types)
        assert nmse(got, reference(shape, rows, rounded=False)) <= tolerance
    if not blocks:
        check_pages(shape, rows, pages, 32 if lab.tier in NARROW else 64)


def check_pages(shape: Shape, rows: Rows, pages: NDArray, at_once: int) -> None:
    """K is (width, PAGE), V (PAGE, dims) for as many dimensions as a tier takes at once, then for
    the next, padded by zeros; all else is untouched."""
    (dtype,) = {DTYPES[part] for part in shape.types}
    want = np.full(pages.shape, 0xFF, np.uint8).view(dtype)
    k_width, v_width = shape.widths
    heads = want.reshape(N_PAGES, shape.n_kv_heads, -1)
    k = heads[..., : k_width * PAGE].reshape(N_PAGES, -1, k_width, PAGE)
    v = heads[..., k_width * PAGE :]
    for t, position in enumerate(rows.positions):
        page, slot = TABLES[rows.table_of[t]][position // PAGE], position % PAGE
        k[page, :, :, slot] = np.pad(rows.k[t], ((0, 0), (0, k_width - shape.head_dim)))
        value = np.pad(rows.v[t], ((0, 0), (0, v_width - shape.v_dim)))
        for d in range(0, 0 if shape.v_in_k else v_width, at_once):
            dims = min(at_once, v_width - d)
            at = PAGE * d + slot * dims
            v[page, :, at : at + dims] = value[:, d : d + dims]
    assert pages.tobytes() == want.tobytes()
