"""Norms, rotary embedding, sums and the choice of rows against NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import EVERY_ROW, LOGIT_ROWS, Buffer, Lab, float_bits, nmse, quantize_lines
from numpy.typing import NDArray

from qrt.kernels import layout

few = settings(max_examples=10, derandomize=True, deadline=None, database=None)
n_tokens = st.sampled_from([0, 1, 2, 5, 33])
seeds = st.integers(0, 2**32 - 1)


def rows(n_rows: int, n_in: int, seed: int) -> NDArray[np.float32]:
    """Values of very different sizes, with zeros of both signs and subnormals among them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_in)) * 10.0 ** rng.integers(-3, 3, (n_rows, 1))
    x[rng.random(x.shape) < 0.05] = rng.choice([0.0, -0.0, 1e-40, -1e-42])
    return x.astype(np.float32)


@given(
    st.sampled_from([1, 3, 16, 31, 32, 64, 96, 257]),
    st.sampled_from([1, 2, 3]),
    n_tokens,
    st.sampled_from([0, 1]),
    st.sampled_from(["weight", "own weights", "bias"]),
    seeds,
)
@few
def test_norm(
    any_lab: Lab, group: int, n_groups: int, n_rows: int, kind: int, given: str, seed: int
) -> None:
    x = rows(n_rows, group * n_groups, seed)
    rng = np.random.default_rng(seed)
    own = given == "own weights"
    weight = rng.normal(size=(n_groups if own else 1, group)).astype(np.float32)
    bias = rng.normal(size=group).astype(np.float32)
    if group == 1 and kind == 1:
        return  # a value less itself
    out = Buffer(x.shape, np.float32)
    floats = Buffer((-(-n_rows // 8), x.shape[1], 8), np.float32)
    lines = Buffer((-(-n_rows // 8), x.shape[1] // 32, 8, layout.LINE), np.uint8)
    quantized = x.shape[1] % 32 == 0
    args = any_lab.record(
        layout.NORM,
        x=any_lab.put(x),
        weight=any_lab.put(np.pad(weight.ravel(), (0, 16))),
        bias=any_lab.put(np.pad(bias, (0, 16))) if given == "bias" else 0,
        n_in=x.shape[1],
        group=group,
        own_weights=own,
        eps=float_bits(1e-5),
        kind=kind,
        rows_of=LOGIT_ROWS,
        out=out.address,
        lines=lines.address if quantized else 0,
        floats=floats.address,
        tile_rows=8,
    )
    outs = [out, floats, lines]
    got, tiles, quants = any_lab.run([("norm", args)], outs, n_rows=-1, n_logits=n_rows)

    wide = x.astype(np.float64).reshape(n_rows, n_groups, group)
    if kind == 1:
        wide = wide - wide.mean(axis=2, keepdims=True)
    wide = wide / np.sqrt((wide**2).mean(axis=2, keepdims=True) + np.float32(1e-5))
    want = wide * weight + (bias if given == "bias" else 0)
    assert nmse(got, want.reshape(x.shape)) <= 1e-10

    by_row = tiles.transpose(0, 2, 1).reshape(len(tiles) * 8, x.shape[1])
    assert by_row[:n_rows].tobytes() == got.tobytes()
    if quantized:
        model = quantize_lines(got, fused=any_lab.tier != "generic")["quants"]
        of_row = quants[..., :32].transpose(0, 2, 1, 3).reshape(len(tiles) * 8, *model.shape[1:])
        np.testing.assert_array_equal(of_row[:n_rows].view(np.int8), model)


@given(
    st.sampled_from([(8, 8), (7, 4), (64, 64), (80, 32), (5, 2)]),
    st.integers(1, 3),
    n_tokens,
    st.booleans(),
    st.booleans(),
    seeds,
)
@few
def test_rope(
    lab: Lab,
    dims: tuple[int, int],
    n_heads: int,
    n_rows: int,
    neox: bool,
    in_place: bool,
    seed: int,
) -> None:
    head_dim, rope_dim = dims
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_heads, head_dim)).astype(np.float32)
    tables = rng.normal(size=(2, n_rows, 2, rope_dim // 2)).astype(np.float32)  # of two specs
    out = Buffer(x.shape, np.float32)
    source = Buffer(x.shape, np.float32)
    args = lab.record(
        layout.ROPE,
        x=source.address,
        out=source.address if in_place else out.address,
        n_heads=n_heads,
        head_dim=head_dim,
        rope_dim=rope_dim,
        neox=neox,
        table=4 * rope_dim,  # the second
    )
    fill = lab.record(
        layout.ADD,
        a=lab.put(x),
        b=lab.put(np.full_like(x, -0.0)),
        out=source.address,
        n_in=n_heads * head_dim,
        rows_of=EVERY_ROW,
    )
    rope = lab.put(tables)
    got = lab.run([("add", fill), ("rope", args)], [source, out], n_rows=n_rows, rope=rope)
    turned, kept = got[0 if in_place else 1][..., :rope_dim], got[0 if in_place else 1]
    assert kept[..., rope_dim:].tobytes() == x[..., rope_dim:].tobytes()

    cos, sin = tables[1, :, None, 0].astype(np.float64), tables[1, :, None, 1].astype(np.float64)
    half = rope_dim // 2
    first = np.arange(half) if neox else 2 * np.arange(half)
    second = first + (half if neox else 1)
    want = np.empty((n_rows, n_heads, rope_dim))
    want[..., first] = x[..., first] * cos - x[..., second] * sin
    want[..., second] = x[..., first] * sin + x[..., second] * cos
    assert nmse(turned, want) <= 1e-10


@given(st.sampled_from([1, 3, 64, 257]), n_tokens, seeds)
@few
def test_add_and_select(lab: Lab, n_in: int, n_rows: int, seed: int) -> None:
    a, b = rows(n_rows, n_in, seed), rows(n_rows, n_in, seed + 1)
    wanted = np.flatnonzero(np.arange(n_rows) % 3 == seed % 3).astype(np.int32)
    total, chosen = Buffer(a.shape, np.float32), Buffer((len(wanted), n_in), np.float32)
    twice = Buffer(chosen.array.shape, np.float32)
    step = {"n_rows": n_rows, "n_logits": len(wanted), "logit_rows": lab.put(wanted)}
    calls = [
        ("add", lab.record(
            layout.ADD, a=lab.put(a), b=lab.put(b), out=total.address, n_in=n_in, rows_of=EVERY_ROW
        )),
        ("select", lab.record(layout.SELECT, x=total.address, out=chosen.address, n_in=n_in)),
        ("add", lab.record(
            layout.ADD, a=chosen.address, b=chosen.address, out=twice.address, n_in=n_in,
            rows_of=LOGIT_ROWS,
        )),
    ]  # fmt: skip
    sums, some, doubled = lab.run(calls, [total, chosen, twice], **step)
    np.testing.assert_array_equal(sums, a + b)
    np.testing.assert_array_equal(some, (a + b)[wanted])
    np.testing.assert_array_equal(doubled, 2 * (a + b)[wanted])


def test_read_leaves_no_byte_out(lab: Lab) -> None:
    data = np.arange(5 * 256, dtype=np.int32) * 7919 + 1
    sums = Buffer((2, 64), np.int32)
    args = lab.record(layout.READ, data=data.ctypes.data, n_bytes=data.nbytes, sums=sums.address)
    tape = np.array([[lab.library.address("read"), args.ctypes.data, 1]])
    step = np.zeros(layout.STEP.size // 8, np.int64)
    lab.teams[2].run(tape, step.ctypes.data)
    sums.check()
    lanes = data.reshape(-1, 64)
    np.testing.assert_array_equal(sums.array.sum(axis=0), lanes.sum(axis=0) + 2 * lanes[0])


@given(st.sampled_from([1, 3, 64, 257]), n_tokens, seeds)
@few
def test_receive(lab: Lab, n_in: int, n_rows: int, seed: int) -> None:
    hidden, out = rows(n_rows, n_in, seed), Buffer((n_rows, n_in), np.float32)
    args = lab.record(layout.RECEIVE, out=out.address, n_in=n_in)
    (got,) = lab.run([("receive", args)], [out], n_rows=n_rows, hidden=lab.put(hidden))
    assert got.tobytes() == hidden.tobytes()
