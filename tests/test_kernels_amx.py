"""Prefill by bf16 tiles: on CPUs without tile registers by the same kernels, tiles in memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import EVERY_ROW, Buffer, Lab, nmse
from numpy.typing import NDArray
from test_kernels_matmul import activations, kinds, matrix, n_tokens, seeds

from qrt.formats.quants import QTYPES
from qrt.kernels import layout
from qrt.kernels.isa import TIERS
from qrt.kernels.layout import BF16_TILE, WIDE_BYTES, panel_wide_bytes
from qrt.kernels.panels import PANEL_FORMATS

few = settings(max_examples=8, derandomize=True, deadline=None, database=None)
QUANTIZED = [name for name, fmt in PANEL_FORMATS.items() if fmt.quantized]
SMALLEST = 2.0**-126
"""Numbers below it are zeros to tile registers."""


def to_bf16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to nearest, ties to even, by exact arithmetic on the distances to both neighbours."""
    bits = x.view(np.uint32)
    below = bits & np.uint32(0xFFFF0000)
    rest = bits - below
    up = (rest > 0x8000) | ((rest == 0x8000) & ((bits >> 16) & 1 == 1))
    rounded = (bits >> 16) + up
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bf16(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def hand_over(lab: Lab, x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """(n_tiles, n_blocks, BF16_TILE, 32) of bf16"""
    rows, n_in = x.shape
    out = Buffer((-(-rows // BF16_TILE), n_in // 32, BF16_TILE, 32), np.uint16)
    values = {"x": lab.put(x), "n_in": n_in, "tile_rows": 8, "rows_of": EVERY_ROW}
    args = lab.record(layout.HAND_OVER, **values, lines=out.address, floats=0)
    return lab.run([("hand_over.bf16", args)], [out], n_rows=rows)[0]


def matmul(
    lab: Lab,
    qtype: str,
    panels: NDArray[np.uint8],
    n_out: int,
    x: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    residual: NDArray[np.float32] | None = None,
    wide_bytes: int = WIDE_BYTES,
) -> NDArray[np.float32]:
    """x @ w.T + bias + residual"""
    rows, n_in = x.shape
    handed = hand_over(lab, x)
    out, wide = Buffer((rows, n_out), np.float32), Buffer((3, wide_bytes), np.uint8)
    values = lab.operands(panels, handed, n_in, out, bias, residual)
    args = lab.record(layout.MATMUL_AMX, **values, wide=wide.address, wide_bytes=wide_bytes)
    got = lab.run([(f"matmul_amx.{qtype}", args)], [out], n_rows=rows)[0]
    wide.check()
    return got


def test_lines_are_rounded_to_nearest_even(main_lab: Lab) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, (35, 1024), dtype=np.uint32)
    x[0, :8] = [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x7F7FFFFF, 0, 1 << 31, 0x7F800000]
    x[1, :4] = [0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF800000]
    values = x.view(np.float32)
    values[np.abs(values) < 2 * SMALLEST] = 0
    lines = hand_over(main_lab, values).transpose(0, 2, 1, 3).reshape(-1, 1024)
    np.testing.assert_array_equal(lines[:35], to_bf16(values))
    assert (lines[35:] == 0xFFFF).all(), "rows that do not exist were written"


@pytest.mark.parametrize("qtype", QUANTIZED)
@given(
    st.integers(1, 8), st.sampled_from([1, 16, 17, 33, 80]), n_tokens | st.just(17), kinds, seeds
)
@few
def test_matmul(
    tile_lab: Lab, qtype: str, n_blocks: int, n_out: int, n_tokens: int, kind: str, seed: int
) -> None:
    """Near the product of what is rounded to bf16; the same whatever is widened at once."""
    rng = np.random.default_rng(seed)
    n_in = n_blocks * QTYPES[qtype].block_size
    x = activations(kind, n_tokens, n_in, seed)
    blocks, weights = matrix(qtype, n_out, n_in, seed)
    panels = tile_lab.pack(blocks, qtype)
    bias = rng.normal(size=n_out).astype(np.float32) if seed & 1 else None
    residual = rng.normal(size=(n_tokens, n_out)).astype(np.float32) if seed & 2 else None
    want = from_bf16(to_bf16(x)).astype(np.float64) @ from_bf16(to_bf16(weights)).T
    for part in (bias, residual):
        want = want if part is None else want + part
    got = matmul(tile_lab, qtype, panels, n_out, x, bias, residual)
    tiny = np.abs(got - want).max(initial=0) <= n_in * SMALLEST
    assert tiny or nmse(got, want) <= 1e-8
    least = 2 * panel_wide_bytes(n_in)
    again = matmul(tile_lab, qtype, panels, n_out, x, bias, residual, least)
    assert again.tobytes() == got.tobytes()


@pytest.mark.parametrize("qtype", QUANTIZED)
def test_against_what_is_not_rounded(tile_lab: Lab, qtype: str) -> None:
    x = activations("normal", 33, 1024, 5)
    blocks, weights = matrix(qtype, 64, 1024, 6)
    got = matmul(tile_lab, qtype, tile_lab.pack(blocks, qtype), 64, x)
    assert nmse(got, x.astype(np.float64) @ weights.astype(np.float64).T) <= 1e-5


@given(st.integers(1, 4), st.sampled_from([1, 16, 40]), st.sampled_from([0, 1, 17, 50]), seeds)
@few
def test_each_head_has_the_bits_of_a_matmul_of_its_own(
    tile_lab: Lab, n_heads: int, n_out: int, n_rows: int, seed: int
) -> None:
    qtype, n_in = "Q8_0", 64
    x = activations("normal", n_rows, n_heads * n_in, seed)
    blocks, _ = matrix(qtype, n_heads * n_out, n_in, seed)
    panels = [tile_lab.pack(one, qtype) for one in np.split(blocks, n_heads)]
    alone = [
        matmul(tile_lab, qtype, own, n_out, np.ascontiguousarray(rows))
        for own, rows in zip(panels, np.split(x, n_heads, axis=1), strict=True)
    ]
    handed = hand_over(tile_lab, x)
    out, wide = Buffer((n_rows, n_heads * n_out), np.float32), Buffer((3, WIDE_BYTES), np.uint8)
    values = tile_lab.operands(np.concatenate(panels), handed, n_in, out, None, None)
    values |= {"n_out": n_out, "n_heads": n_heads}
    values |= {"wide": wide.address, "wide_bytes": WIDE_BYTES}
    args = tile_lab.record(layout.HEAD_MATMUL_AMX, **values)
    (got,) = tile_lab.run([(f"head_matmul_amx.{qtype}", args)], [out], n_rows=n_rows)
    wide.check()
    assert got.tobytes() == np.concatenate(alone, axis=1).tobytes()


ASSEMBLY = """
import numba
from qrt.kernels import instructions, matmul_amx
from qrt.kernels.jit import KERNEL, OPTIONS

instructions.select("amx")
kernel = numba.njit(KERNEL, **OPTIONS)(matmul_amx.build("Q4_K"))
library = kernel.overloads[KERNEL.args].library
library.whole()
print(library.get_asm_str())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compiles for x86")
def test_what_the_tier_is_compiled_to() -> None:
    """Tile registers: configured once, let go of before every return, and no call in between."""
    tier = TIERS["amx"]
    cpu = {"NUMBA_CPU_NAME": tier.llvm_cpu, "NUMBA_CPU_FEATURES": tier.llvm_features}
    command = [sys.executable, "-c", ASSEMBLY]
    done = subprocess.run(
        command, env={**os.environ, **cpu}, capture_output=True, text=True, timeout=120, check=True
    )
    found = re.findall(r"^\t([a-z]\w*)", done.stdout, re.MULTILINE)
    counts = Counter(found)
    assert counts["ldtilecfg"] == 1
    assert counts["tilerelease"] == counts["retq"] > 0
    assert not any(name.startswith("call") for name in found)
    assert counts["tileloadd"] == counts["tdpbf16ps"] > 0
    assert counts["tilezero"] == counts["tilestored"] > 0
    assert counts["vcvtneps2bf16"] > 0


def test_rows_do_not_meet(main_lab: Lab) -> None:
    """Each row alone, in chunks, and beside one that is not finite, has the same bits."""
    x = activations("normal", 50, 256, 1)
    x[20, 3] = np.nan
    blocks, _ = matrix("Q4_0", 40, 256, 2)
    panels = main_lab.pack(blocks, "Q4_0")
    whole = matmul(main_lab, "Q4_0", panels, 40, x)
    assert np.isnan(whole[20]).all()
    assert np.isfinite(np.delete(whole, 20, axis=0)).all()
    for chunk in (1, 7, 16, 17):
        parts = [
            matmul(main_lab, "Q4_0", panels, 40, x[at : at + chunk])
            for at in range(0, len(x), chunk)
        ]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
