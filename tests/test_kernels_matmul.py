"""Packing, the hand-over of activations, matmuls and embeddings against NumPy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import (
    EXPANDED,
    HEAD_TILINGS,
    HEAD_TYPES,
    LOOKED_UP,
    MANY,
    ONE,
    TILES,
    TILINGS,
    Buffer,
    Lab,
    float_bits,
    nmse,
    quantize_lines,
    tilings_of,
)
from numpy.typing import NDArray
from oracles import random_weights

from qrt.backends.cpu.recorder import Tiling
from qrt.formats.quants import QTYPES
from qrt.kernels import layout
from qrt.kernels.panels import PANEL_FORMATS

few = settings(max_examples=10, derandomize=True, deadline=None, database=None)
each_format = pytest.mark.parametrize("qtype", PANEL_FORMATS)
kinds = st.sampled_from(["normal", "zeros", "subnormal", "large", "equal", "mixed"])
seeds = st.integers(0, 2**32 - 1)
n_rows = st.sampled_from([1, 3, 16, 17, 64, 257])
n_tokens = st.sampled_from([0, 1, 2, 5, 8, 33, 517])


def activations(kind: str, n_tokens: int, n_in: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_tokens, n_in)).astype(np.float32)
    if kind == "zeros":
        return np.copysign(np.float32(0), x)
    if kind == "equal":
        return np.full_like(x, -1.7)
    if kind == "mixed":
        return x * np.float32(10) ** rng.integers(-30, 5, (n_tokens, 1)).astype(np.float32)
    return x * {"normal": 1, "subnormal": np.float32(1e-40), "large": np.float32(1e30)}[kind]


def matrix(qtype: str, n_out: int, n_in: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Blocks (n_out, n_blocks, block_bytes) and the weights they stand for, (n_out, n_in)."""
    kind = QTYPES[qtype]
    blocks = random_weights(kind, n_out * n_in, 0.05, seed)
    weights = kind.dequantize(blocks).reshape(n_out, n_in)
    return blocks.reshape(n_out, n_in // kind.block_size, kind.block_bytes), weights


def as_quantized(lab: Lab, x: NDArray[np.float32]) -> NDArray[np.float64]:
    lines = quantize_lines(x, fused=lab.tier != "generic")
    return (lines["quants"] * lines["scale"][..., None].astype(np.float64)).reshape(x.shape)


def check_matmul(
    lab: Lab, qtype: str, tilings: Iterable[Tiling], n_out: int, x: NDArray[np.float32], seed: int
) -> None:
    """Every tiling gives the same bits, near the product of the same quantized inputs."""
    rng = np.random.default_rng(seed)
    blocks, weights = matrix(qtype, n_out, x.shape[1], seed)
    panels = lab.pack(blocks, qtype)
    bias = rng.normal(size=n_out).astype(np.float32) if seed & 1 else None
    residual = rng.normal(size=(len(x), n_out)).astype(np.float32) if seed & 2 else None
    given = as_quantized(lab, x) if PANEL_FORMATS[qtype].quantized else x.astype(np.float64)
    want = given @ weights.astype(np.float64).T
    scale = 0.75 if seed & 4 else 1.0
    want *= scale
    for part in (bias, residual):
        want = want if part is None else want + part
    got = [lab.matmul(qtype, each, panels, n_out, x, bias, residual, scale) for each in tilings]
    coarse = np.abs(got[0] - want).max(initial=0) <= x.shape[1] * 2.0**-149  # a subnormal's steps
    assert coarse or nmse(got[0], want) <= 1e-10
    assert all(other.tobytes() == got[0].tobytes() for other in got[1:])


@each_format
@given(st.sampled_from([1, 2, 3, 8, 17]), n_rows, n_tokens, kinds, seeds)
@few
def test_matmul(
    lab: Lab, qtype: str, n_blocks: int, n_out: int, n_tokens: int, kind: str, seed: int
) -> None:
    width = QTYPES[qtype].block_size
    x = activations(kind, n_tokens, n_blocks * (n_blocks if width == 1 else width), seed)
    check_matmul(lab, qtype, tilings_of(qtype), n_out, x, seed)


@each_format
def test_matmul_against_unquantized_activations(lab: Lab, qtype: str) -> None:
    x = activations("normal", 33, 1024, 5)
    blocks, weights = matrix(qtype, 64, 1024, 6)
    got = lab.matmul(qtype, MANY, lab.pack(blocks, qtype), 64, x)
    tolerance = 5e-4 if PANEL_FORMATS[qtype].quantized else 1e-10
    assert nmse(got, x.astype(np.float64) @ weights.astype(np.float64).T) <= tolerance


def check_tier(lab: Lab, qtype: str, *tilings: Tiling) -> None:
    n_in = max(160, 2 * QTYPES[qtype].block_size)
    for seed, n_tokens in enumerate((1, 5, 33)):
        check_matmul(lab, qtype, tilings, 67, activations("mixed", n_tokens, n_in, seed), seed)


@pytest.mark.parametrize(("qtype", "tiling"), [("Q4_0", TILINGS[-1]), ("Q8_0", ONE)])
def test_dot_products_of_every_tier(any_lab: Lab, qtype: str, tiling: Tiling) -> None:
    check_tier(any_lab, qtype, tiling)


def test_tile_registers_of_every_tier(main_lab: Lab) -> None:
    check_tier(main_lab, "Q4_0", TILES)


@pytest.mark.parametrize("qtype", LOOKED_UP)
def test_lookups_of_every_tier(lookup_lab: Lab, qtype: str) -> None:
    check_tier(lookup_lab, qtype, ONE)


def test_floats_of_every_tier(main_lab: Lab) -> None:
    check_tier(main_lab, "F16", ONE, TILINGS[-1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("qtype", ["Q8_0", "Q4_K", "F16"])
def test_a_value_that_is_not_finite_shows(lab: Lab, qtype: str, value: float) -> None:
    blocks, _ = matrix(qtype, 16, 512, 1)
    x = activations("normal", 2, 512, 1)
    x[1, 77] = value
    got = lab.matmul(qtype, ONE, lab.pack(blocks, qtype), 16, x)
    assert np.isfinite(got[0]).all()
    assert not np.isfinite(got[1]).any()


@each_format
def test_each_weight_alone(lab: Lab, qtype: str) -> None:
    """One activation that is not zero: the outputs are a column of the matrix."""
    size = QTYPES[qtype].block_size
    blocks, weights = matrix(qtype, 33, 2 * size, 3)
    panels = lab.pack(blocks, qtype)
    for at in range(0, 2 * size, max(1, size // 7)):
        x = np.zeros((1, 2 * size), np.float32)
        x[0, at] = 127
        got = lab.matmul(qtype, ONE, panels, 33, x)[0]
        np.testing.assert_allclose(got, 127 * weights[:, at], rtol=0, atol=3e-7 * np.abs(got).max())


@given(st.integers(0, 9), st.sampled_from([0, 1, 3, 17]), st.sampled_from([1, 8]), kinds, seeds)
@settings(few, max_examples=12)
def test_hand_over(any_lab: Lab, n_blocks: int, rows: int, tile: int, kind: str, seed: int) -> None:
    x = activations(kind, rows, 32 * n_blocks, seed)
    if x.size:
        x[0, :8] = [0.5, 1.5, 2.5, -0.5, -1.5, 127, -126.5, 0.0]  # ties
    lines = any_lab.hand_over(x, tile, quantized=True)
    for name, want in quantize_lines(x, fused=any_lab.tier != "generic").items():
        at = getattr(layout.LINE_AT, name)
        n_bytes = 32 if name == "quants" else 4
        got = np.ascontiguousarray(lines[..., at : at + n_bytes]).view(want.dtype)
        by_row = got.transpose(0, 2, 1, 3).reshape(len(got) * tile, *want.shape[1:])
        np.testing.assert_array_equal(by_row[:rows], want, err_msg=name)

    lanes = any_lab.hand_over(x, tile, quantized=False)
    by_row = lanes.transpose(0, 2, 1).reshape(len(lanes) * tile, x.shape[1])
    assert by_row[:rows].tobytes() == x.tobytes()
    assert np.isnan(by_row[rows:]).all()


def test_hand_over_of_tiny_values_is_zero(any_lab: Lab) -> None:
    """The inverse of their scale is not finite."""
    x = np.repeat(np.float32([1e-45, 1e-40, 9e-37, 2e-36]), 32).reshape(1, -1)
    quants = any_lab.hand_over(x, 1, quantized=True)[0, :, 0, :32].view(np.int8)
    np.testing.assert_array_equal(quants[:, 0], [0, 0, 0, 127])


SIGNS = [8 * (e % 4) + e // 8 + 4 * (e // 4 % 2) for e in range(32)]
SHORT_SIGNS = [*(SIGNS[e] for e in range(32) if e % 8 < 7), 28, 29, 30, 31]
ORDERS = {  # where each bit of a unit goes
    "sort": [8 * (e % 4) + e // 4 for e in range(32)],
    "quarters": [8 * (e // 2 % 4) + 2 * (e // 8) + e % 2 for e in range(32)],
    "signs": SIGNS,
    ("short signs", 4): SHORT_SIGNS,
    ("short signs", 8): [*range(32), *(32 + at for at in SHORT_SIGNS)],
    "points": [
        at
        for i in range(4)
        for at in (
            *[*range(27), *range(60, 64), *range(27, 32)][9 * i : 9 * i + 9],
            *(32 + SIGNS[8 * i + e] for e in range(7)),
        )
    ],
}


def unpacked(panels: NDArray[np.uint8], qtype: str, n_rows: int) -> NDArray[np.uint8]:
    """Blocks (n_rows, n_blocks, block_bytes) from panels, written apart from the kernel."""
    fmt = PANEL_FORMATS[qtype]
    panels = panels.reshape(-1, 16 * fmt.block_bytes)
    blocks = np.empty((len(panels), 16, fmt.block_bytes), np.uint8)
    at = 0
    for field in fmt.fields:
        for i in range(field.count):
            units = panels[:, at : at + 16 * field.unit]
            part = min(field.unit, 4)
            units = units.reshape(len(panels), -1, 16, part).swapaxes(1, 2)
            units = units.reshape(len(panels), 16, field.unit)
            if field.change == "flip":
                units = units ^ 0x80
            elif field.change != "none":
                order = ORDERS.get(field.change) or ORDERS[field.change, field.unit]
                bits = np.unpackbits(units, axis=2, bitorder="little")
                units = np.packbits(bits[..., order], axis=2, bitorder="little")
            start = field.offset + i * field.unit
            blocks[:, :, start : start + field.unit] = units
            at += 16 * field.unit
    assert at == panels.shape[1]
    n_panels = -(-n_rows // 16)
    rows = blocks.reshape(n_panels, -1, 16, fmt.block_bytes).transpose(0, 2, 1, 3)
    return rows.reshape(16 * n_panels, -1, fmt.block_bytes)


@each_format
@pytest.mark.parametrize("rows", [1, 16, 35])
def test_pack_moves_every_byte_once(lab: Lab, qtype: str, rows: int) -> None:
    fmt = PANEL_FORMATS[qtype]
    rng = np.random.default_rng(rows)
    blocks = rng.integers(0, 256, (rows, 3, fmt.block_bytes), dtype=np.uint8)
    back = unpacked(lab.pack_fields(blocks, qtype), qtype, rows)
    np.testing.assert_array_equal(back[:rows], blocks)
    changed = [f for f in fmt.fields if f.change == "flip"]
    padding = np.zeros(fmt.block_bytes, np.uint8)
    for field in changed:
        padding[field.offset : field.offset + 4 * field.count] = 0x80  # zeros, flipped
    kept = np.ones(fmt.block_bytes, bool)
    for field in changed:
        kept[field.offset : field.offset + 4 * field.count] = False
    assert not back[rows:, :, kept].any()


def embed(
    lab: Lab,
    qtype: str,
    blocks: NDArray[Any],
    tokens: NDArray[Any],
    scale: float,
    packed: bool = True,
) -> Any:
    n_in = blocks.shape[1] * QTYPES[qtype].block_size
    out = Buffer((len(tokens), n_in), np.float32)
    args = lab.record(
        layout.EMBED,
        weights=lab.put(lab.pack(blocks, qtype) if packed else blocks),
        n_in=n_in,
        out=out.address,
        scale=float_bits(scale),
        packed=int(packed),
    )
    step = {"n_rows": len(tokens), "tokens": lab.put(tokens.astype(np.int32))}
    return lab.run([(f"embed.{qtype}", args)], [out], **step)[0]


@each_format
@given(st.integers(1, 3), n_rows, n_tokens, st.sampled_from([1.0, 16.0]), seeds)
@few
def test_embed(
    lab: Lab, qtype: str, n_blocks: int, n_vocab: int, n_tokens: int, scale: float, seed: int
) -> None:
    blocks, weights = matrix(qtype, n_vocab, n_blocks * QTYPES[qtype].block_size, seed)
    tokens = np.random.default_rng(seed).integers(0, n_vocab, n_tokens)
    for packed in (True,) if PANEL_FORMATS[qtype].expanded else (True, False):
        got = embed(lab, qtype, blocks, tokens, scale, packed)
        np.testing.assert_array_equal(got, weights[tokens] * np.float32(scale))


@pytest.mark.parametrize("qtype", EXPANDED)
def test_every_point_of_a_grid_becomes_its_digits(lab: Lab, qtype: str) -> None:
    blocks, weights = matrix(qtype, 2048, 256, 1)  # 32 points a row: each about 32 times
    got = embed(lab, qtype, blocks, np.arange(2048), 1.0)
    np.testing.assert_array_equal(got, weights)


def test_every_half_becomes_the_same_float(main_lab: Lab) -> None:
    halves = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    blocks = halves.view(np.uint8).reshape(256, 256, 2)
    got = embed(main_lab, "F16", blocks, np.arange(256), 1.0)
    with np.errstate(invalid="ignore"):
        want = halves.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = ~np.isnan(want)
    np.testing.assert_array_equal(got[finite].view(np.uint32), want[finite].view(np.uint32))


@pytest.mark.parametrize("qtype", HEAD_TYPES)
@given(
    st.integers(1, 3),
    st.sampled_from([1, 16, 40]),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 1, 5, 33]),
    seeds,
)
@few
def test_each_head_has_the_bits_of_a_matmul_of_its_own(
    lab: Lab, qtype: str, n_heads: int, n_out: int, n_blocks: int, n_rows: int, seed: int
) -> None:
    n_in = n_blocks * max(32, QTYPES[qtype].block_size)
    x = activations("normal", n_rows, n_heads * n_in, seed)
    blocks, _ = matrix(qtype, n_heads * n_out, n_in, seed)
    panels = [lab.pack(one, qtype) for one in np.split(blocks, n_heads)]
    for tiling in HEAD_TILINGS:
        alone = [
            lab.matmul(qtype, tiling, own, n_out, np.ascontiguousarray(rows))
            for own, rows in zip(panels, np.split(x, n_heads, axis=1), strict=True)
        ]
        out = Buffer((n_rows, n_heads * n_out), np.float32)
        handed = lab.hand_over(x, tiling.rows, quantized=PANEL_FORMATS[qtype].quantized)
        values = lab.operands(np.concatenate(panels), handed, n_in, out, None, None)
        args = lab.record(layout.HEAD_MATMUL, **{**values, "n_out": n_out}, n_heads=n_heads)
        (got,) = lab.run([(f"head_{tiling.matmul.format(qtype)}", args)], [out], n_rows=n_rows)
        assert got.tobytes() == np.concatenate(alone, axis=1).tobytes()
