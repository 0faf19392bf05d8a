"""The gated delta rule against NumPy: odd sizes, fresh and stored states, several sequences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Buffer, Lab, float_bits, nmse
from numpy.typing import NDArray
from recurrent import Segments, random_segments, run_kernel

from qrt.graph.op import Part
from qrt.graph.ops.delta import Delta
from qrt.kernels import layout

Floats = NDArray[np.float32]
EPS = 1e-3


def op_of(
    n_k: int, repeats: int, k_dim: int, v_dim: int, joined: bool = False, grouped: bool = False
) -> Delta:
    n = n_k * k_dim
    qkv = [Part("qkv", at) for at in (1, 1 + n, 1 + 2 * n)] if joined else [*map(Part, "qkv")]
    names = ("beta", "decay", "bias", "rate")
    return Delta("out", *qkv, *names, 3, n_k * repeats, n_k, k_dim, v_dim, EPS, grouped)


def numbers(op: Delta, n_rows: int, channels: bool, seed: int) -> dict[str, Floats]:
    """Values and weights by name."""
    rng = np.random.default_rng(seed)
    n_decays = op.n_heads * (op.k_dim if channels else 1)
    widths = {"beta": op.n_heads, "decay": n_decays}
    for part, n in op.parts:
        widths[part.value] = max(widths.get(part.value, 0), part.start + n)
    made = {name: rng.normal(size=(n_rows, n)) * 2 for name, n in widths.items()}
    made |= {"bias": rng.normal(size=n_decays), "rate": -np.exp(rng.normal(size=op.n_heads))}
    return {name: value.astype(np.float32) for name, value in made.items()}


def runs_of(op: Delta) -> list[int]:
    """Columns of each run of a head's state."""
    starts = range(0, op.v_dim, layout.DELTA_COLUMNS)
    return [min(layout.DELTA_COLUMNS, op.v_dim - at) for at in starts]


def in_runs(states: NDArray[np.floating], op: Delta) -> NDArray[np.floating]:
    """States (n, n_heads * k_dim * v_dim) as kernels have them: columns in runs."""
    heads = states.reshape(len(states), op.n_heads, op.k_dim, op.v_dim)
    runs = np.split(heads, np.cumsum(runs_of(op))[:-1], axis=3)
    flat = [run.reshape(len(states), op.n_heads, -1) for run in runs]
    return np.concatenate(flat, axis=2).reshape(states.shape)


def delta(
    lab: Lab, op: Delta, made: dict[str, Floats], segments: Segments, before: Floats
) -> tuple[Floats, Floats]:
    """The result and the states left, these in runs as those before are."""
    out = Buffer((segments.n_rows, op.n_heads * op.v_dim), np.float32)
    parts = {"q": op.q, "k": op.k, "v": op.v}
    sizes = ("n_heads", "n_k_heads", "k_dim", "v_dim")

    def record(places):
        at = {name: lab.put(value) for name, value in made.items()}
        return lab.record(
            layout.DELTA,
            **{name: at[part.value] + 4 * part.start for name, part in parts.items()},
            **{f"{name}_stride": 4 * made[p.value].shape[1] for name, p in parts.items()},
            **{name: at[name] for name in ("beta", "decay", "bias", "rate")},
            by_channel=int(made["decay"].shape[1] > op.n_heads),
            out=out.address,
            **{name: getattr(op, name) for name in sizes},
            grouped=int(op.grouped),
            eps=float_bits(EPS),
            **places,
        )

    return run_kernel(lab, "delta", segments, before, record, out)


def check(lab: Lab, op: Delta, lengths: tuple[int, ...], channels: bool, seed: int) -> None:
    made = numbers(op, sum(lengths), channels, seed)
    n_values = op.n_heads * op.k_dim * op.v_dim
    segments = random_segments(lengths, n_values, np.random.default_rng(seed))
    want = segments.meaning(op, made, made)
    before = in_runs(segments.before, op).astype(np.float32)
    got, left = delta(lab, op, made, segments, before)
    assert nmse(got, want) <= 1e-11
    states = np.array([segments.left[i].reshape(-1) for i in range(len(lengths))])
    assert nmse(left, in_runs(states, op)) <= 1e-11


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 5, 16, 33, 64, 128, 256]),
    st.sampled_from([1, 16, 31, 32, 33, 64, 70, 128]),
    st.sampled_from([(1,), (3,), (1, 1, 1), (40, 2, 1), (33, 65)]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, derandomize=True, deadline=None, database=None)
def test_delta(
    lab: Lab,
    n_k: int,
    repeats: int,
    k_dim: int,
    v_dim: int,
    lengths: tuple[int, ...],
    choices: tuple[bool, bool, bool],
    seed: int,
) -> None:
    joined, grouped, channels = choices
    check(lab, op_of(n_k, repeats, k_dim, v_dim, joined, grouped), lengths, channels, seed)


@pytest.mark.parametrize("channels", [False, True])
def test_delta_on_every_tier(main_lab: Lab, channels: bool) -> None:
    check(main_lab, op_of(2, 2, 64, 40, True, True), (35, 3), channels, 1)


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("v_dim", [64, 40])
def test_a_row_does_not_see_its_neighbours(lab: Lab, channels: bool, v_dim: int) -> None:
    """In three steps beside another sequence: the bits of one step alone."""
    op = op_of(2, 2, 48, v_dim)
    state = np.zeros((1, op.n_heads * op.k_dim * v_dim), np.float32)
    made = numbers(op, 70, channels, 5)
    got, left = delta(lab, op, made, Segments((70,), (True,), state), state)
    first = 0
    for n in (33, 1, 36):
        beside = made | numbers(op, 2 + n, channels, 6)
        for name in op.reads:
            beside[name][2:] = made[name][first : first + n]
        beside |= {name: made[name] for name in ("bias", "rate")}
        before = np.repeat(state, 2, axis=0)
        segments = Segments((2, n), (True, first == 0), before)
        part, states = delta(lab, op, beside, segments, before)
        assert part[2:].tobytes() == got[first : first + n].tobytes()
        first, state = first + n, states[1:]
    assert state.tobytes() == left.tobytes()


def test_what_is_not_finite_shows(lab: Lab) -> None:
    op = op_of(1, 2, 32, 32)
    state = np.zeros((1, op.n_heads * 32 * 32), np.float32)
    segments = Segments((3,), (True,), state)
    for name in op.reads:
        for value in (np.nan, np.inf):
            made = numbers(op, 3, False, 2)
            made[name][1, 0] = value
            finite = np.isfinite(delta(lab, op, made, segments, state)[0]).all(axis=1)
            assert finite[:2].tolist() == [True, False], name
