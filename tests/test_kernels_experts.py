"""The choice of experts, and routed rows through their matrices, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import (
    EXPERT_MANIES,
    EXPERT_TILES,
    EXPERT_TYPES,
    MANY,
    ONE,
    Buffer,
    Lab,
    float_bits,
    nmse,
)
from numpy.typing import NDArray
from test_kernels_matmul import activations, matrix

from qrt.backends.cpu.ops.route import GATINGS
from qrt.backends.reference.ops.route import choose, order_of
from qrt.formats.quants import QTYPES
from qrt.graph.ops.route import LEAST_SUM, Route
from qrt.kernels import layout
from qrt.kernels.panels import PANEL_FORMATS

few = settings(max_examples=12, derandomize=True, deadline=None, database=None)
seeds = st.integers(0, 2**32 - 1)
CHOICES = st.sampled_from(
    [(1, 1, 1, 1), (5, 2, 1, 1), (16, 4, 4, 2), (33, 8, 3, 1), (128, 8, 8, 4)]
)
"""Experts, those that a row goes to, groups, those that a row may choose from."""


def route_record(
    lab: Lab, op: Route, logits: int, bias: int, out: int, room: int, tile: int
) -> Any:
    return lab.record(
        layout.ROUTE,
        logits=logits,
        out=out,
        bias=bias,
        n_experts=op.n_experts,
        n_used=op.n_used,
        gating=GATINGS[op.gating],
        n_groups=op.n_groups,
        n_groups_used=op.n_groups_used,
        renormalize=op.renormalize,
        scale=float_bits(op.scale),
        least_sum=float_bits(LEAST_SUM),
        threshold=float_bits(op.threshold),
        tile_rows=tile,
        routing=room,
    )


class Routing(Buffer):
    """Room for what Route finds out; it begins as zeros."""

    def __init__(self, n_experts: int, n_pairs: int) -> None:
        self.parts = layout.routing_parts(n_experts)
        self.n_experts, self.n_pairs = n_experts, n_pairs
        super().__init__((self.parts[2] + 4 * n_pairs,), np.uint8)

    def reset(self) -> None:
        super().reset()
        self.array[:] = 0

    def read(self, memory: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(expert, first routed row, rows) of each active expert; the routed row of each pair."""
        words = memory[: self.parts[1]].view(np.int64)
        active = words[2:].reshape(self.n_experts, 3)[: words[1]]
        assert words[0] == 0
        return active, memory[self.parts[2] :].view(np.int32)


@pytest.mark.parametrize("gating", GATINGS)
@given(CHOICES, st.sampled_from([0, 1, 2, 7, 40]), st.sampled_from(EXPERT_TILES), seeds)
@few
def test_route(
    lab: Lab, gating: Any, choice: tuple[int, int, int, int], n_rows: int, tile: int, seed: int
) -> None:
    n_experts, n_used, *groups = choice
    plain = gating == "sparsemixer"
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(n_rows, n_experts)) * 3).astype(np.float32)
    bias = rng.normal(size=n_experts).astype(np.float32) if seed & 1 and not plain else None
    op = Route(
        *("out", "logits", n_experts, n_used, gating, None if bias is None else "bias"),
        *((1, 1) if plain else groups),
        *(bool(seed & 2) and not plain, 2.5 if seed & 4 else 1.0),
        float(rng.random(dtype=np.float32)),
    )
    out, room = Buffer((n_rows, 2 * n_used), np.float32), Routing(n_experts, n_rows * n_used)
    at = 0 if bias is None else lab.put(bias)
    args = route_record(lab, op, lab.put(logits), at, out.address, room.address, tile)
    got, memory = lab.run([("route", args)], [out, room], n_rows=n_rows)

    want = choose(logits.astype(np.float64), bias, op)
    np.testing.assert_array_equal(got[:, :n_used], want[:, :n_used])
    assert nmse(got[:, n_used:], want[:, n_used:]) <= 1e-12
    active, places = room.read(memory)
    first = 0
    order = order_of(got.astype(np.float64), n_used)
    experts = got[:, :n_used].ravel()[order]
    assert active[:, 0].tolist() == np.unique(experts).tolist()
    for expert, start, n in active:
        assert start == first
        assert places[order[experts == expert]].tolist() == list(range(start, start + n))
        first += -(-n // tile) * tile


@pytest.mark.parametrize("gating", GATINGS)
def test_a_logit_that_is_not_finite_shows(lab: Lab, gating: Any) -> None:
    for value in (np.nan, np.inf):
        logits = np.zeros((1, 8), np.float32)
        logits[0, 3] = value
        op = Route("out", "logits", 8, 8, gating, renormalize=gating != "sparsemixer")
        out, room = Buffer((1, 16), np.float32), Routing(8, 8)
        args = route_record(lab, op, lab.put(logits), 0, out.address, room.address, 1)
        got, _ = lab.run([("route", args)], [out, room], n_rows=1)
        assert set(got[0, :8].tolist()) <= set(range(8))
        assert np.isnan(got[0, 8:]).any()


def sparsemixer(scores: NDArray[np.float64], jitter: float) -> NDArray[np.float64]:
    """Two experts and their weights as in transformers at inference, (n_rows, 4)."""
    masked, experts, weights = scores, [], []
    for _ in range(2):
        best, most = masked.argmax(axis=1)[:, None], masked.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # 0 / 0 is above nothing
            far = (most - scores) / np.maximum(np.abs(scores), most) > 2.0 * jitter
        gates = np.exp(np.where(far, -np.inf, masked) - most)
        gates /= gates.sum(axis=1, keepdims=True)
        experts.append(best)
        weights.append(np.take_along_axis(gates, best, axis=1))
        masked = np.where(np.arange(scores.shape[1]) == best, -np.inf, masked)
    return np.concatenate([*experts, *weights], axis=1)


@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.2, 0.5])
def test_sparsemixer_is_that_of_transformers(jitter: float) -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(60, 16)) * np.geomspace(0.01, 30.0, 60)[:, None]
    logits[20:40] -= logits[20:40].max(axis=1, keepdims=True) + 0.1  # all below 0
    logits[40:50] = np.round(logits[40:50])  # equals, and zeros
    op = Route("out", "logits", 16, 2, "sparsemixer", threshold=2.0 * jitter)
    assert op.width({"logits": 16}) == 4
    want = sparsemixer(logits, jitter)
    np.testing.assert_allclose(choose(logits, None, op), want, rtol=1e-12, atol=0.0)
    apart = np.abs(want[:, 2:] - 0.5) < 0.45
    assert apart.any() or jitter == 0.0


KERNELS = [
    (qtype, kernel, tile)
    for qtype in EXPERT_TYPES
    for kernel, tile in (
        *((f"expert_matmul.{qtype}.{tile}", tile) for tile in EXPERT_TILES),
        *((f"expert_{each.matmul.format(qtype)}", each.routed_rows) for each in EXPERT_MANIES),
    )
]


@pytest.mark.parametrize(("qtype", "kernel", "tile"), KERNELS)
@given(
    st.sampled_from([(1, 1), (4, 2), (7, 3)]),
    st.sampled_from([1, 17, 64]),
    st.sampled_from([0, 1, 2, 9, 40]),
    st.booleans(),
    seeds,
)
@settings(max_examples=8, derandomize=True, deadline=None, database=None)
def test_experts(
    lab: Lab,
    qtype: str,
    kernel: str,
    tile: int,
    choice: tuple[int, int],
    n_out: int,
    n_rows: int,
    weighted: bool,
    seed: int,
) -> None:
    """Gathered, multiplied and scattered rows have the bits of each expert's matmul alone."""
    n_experts, n_used = choice
    rng = np.random.default_rng(seed)
    n_in = 2 * max(32, QTYPES[qtype].block_size)
    x = activations("normal", n_rows, n_in, seed)
    quantized = PANEL_FORMATS[qtype].quantized
    panels = [lab.pack(matrix(qtype, n_out, n_in, seed + e)[0], qtype) for e in range(n_experts)]
    bias = rng.normal(size=(n_experts, n_out)).astype(np.float32)
    scale = rng.uniform(0.5, 2.0, n_experts).astype(np.float32)
    residual = rng.normal(size=(n_rows, n_out)).astype(np.float32)
    logits = rng.normal(size=(n_rows, n_experts)).astype(np.float32)

    op = Route("out", "logits", n_experts, n_used, renormalize=True)
    most = n_rows * n_used + n_experts * (tile - 1)
    n_tiles = -(-most // tile)
    route, room = Buffer((n_rows, 2 * n_used), np.float32), Routing(n_experts, n_rows * n_used)
    shape = (n_tiles, n_in // 32, tile, layout.LINE) if quantized else (n_tiles, n_in, tile)
    handed = Buffer(shape, np.uint8 if quantized else np.float32)
    y, out = Buffer((most, n_out), np.float32), Buffer((n_rows, n_out), np.float32)
    places = room.address + room.parts[2]
    x_at, pad = lab.put(x), np.zeros(16, np.float32)
    calls = [
        ("route", route_record(lab, op, lab.put(logits), 0, route.address, room.address, tile)),
        (
            "gather",
            lab.record(
                layout.GATHER,
                x=x_at,
                n_in=n_in,
                route=route.address,
                n_used=n_used,
                weighted=weighted,
                places=places,
                lines=handed.address if quantized else 0,
                floats=0 if quantized else handed.address,
                tile_rows=tile,
            ),
        ),
        (
            kernel,
            lab.record(
                layout.EXPERT_MATMUL,
                weights=lab.put(np.concatenate(panels)),
                x=handed.address,
                out=y.address,
                stride=n_out,
                bias=lab.put(np.append(bias, pad)),
                residual=0,
                n_in=n_in,
                n_out=n_out,
                rows_of=layout.ROWS_OF["routed"],
                scale=float_bits(1.0),
                scales=lab.put(scale),
                routing=room.address,
                next=0,
            ),
        ),
        (
            "scatter",
            lab.record(
                layout.SCATTER,
                x=y.address,
                route=route.address,
                out=out.address,
                residual=lab.put(np.append(residual, pad)),
                n_in=n_out,
                n_used=n_used,
                weighted=not weighted,
                places=places,
            ),
        ),
    ]
    outs = [route, room, handed, y, out]
    chosen, memory, _, made, got = lab.run(calls, outs, n_rows=n_rows)

    _, place = room.read(memory)
    place = place.reshape(n_rows, n_used)
    tiling = MANY if "prefill" in kernel else ONE
    parts = np.zeros((n_rows, n_used, n_out))
    for row in range(n_rows):
        for i in range(n_used):
            e, weight = int(chosen[row, i]), chosen[row, n_used + i]
            alone = lab.matmul(
                qtype, tiling, panels[e], n_out, x[row : row + 1], None, None, float(scale[e])
            )[0]
            if not weighted:
                assert made[place[row, i]].tobytes() == (alone + bias[e]).tobytes()
            parts[row, i] = weight * alone.astype(np.float64)
            parts[row, i] += bias[e] if weighted else weight * bias[e].astype(np.float64)
    assert nmse(got, parts.sum(axis=1) + residual) <= 1e-12
