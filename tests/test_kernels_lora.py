"""The products of low-rank adapters against float64: odd sizes, rows that use some of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import EVERY_ROW, LOGIT_ROWS, Buffer, Lab, float_bits, nmse
from numpy.typing import NDArray

from qrt.kernels import layout

few = settings(max_examples=12, derandomize=True, deadline=None, database=None)
seeds = st.integers(0, 2**32 - 1)
n_ins, n_outs = st.sampled_from([1, 40, 255, 256, 515]), st.sampled_from([1, 16, 33, 80])
ranks = st.lists(st.sampled_from([1, 5, 16, 19, 33]), min_size=1, max_size=3)
PANEL = 16


class Case:
    """Adapters of one matrix, or of one for each expert, and rows that use some of them."""

    def __init__(
        self, seed: int, sizes: tuple[int, int, int], ranks: list[int], n: int = 1
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.n_rows, self.n_in, self.n_out = sizes
        self.ranks, self.n_experts = ranks, n
        self.panels = [-(-rank // PANEL) for rank in ranks]
        self.n_runs = -(-self.n_in // layout.LORA_RUN)
        self.run = PANEL * sum(self.panels)
        self.x = self.normal(self.n_rows, self.n_in)
        self.y = self.normal(self.n_rows, self.n_out)
        self.factors = self.random.uniform(0.5, 2, len(ranks))
        used = self.random.integers(0, 2, (self.n_rows // 4 + 1, len(ranks))).repeat(4, axis=0)
        self.scales = (used[: self.n_rows] * self.normal(self.n_rows, len(ranks))).astype(
            np.float32
        )
        self.downs = [self.halves(n, rank, self.n_in) for rank in ranks]
        self.ups = [self.halves(n, self.n_out, rank) for rank in ranks]

    def normal(self, *shape: int) -> NDArray[np.float32]:
        return self.random.normal(0, 1, shape).astype(np.float32)

    def halves(self, *shape: int) -> NDArray[np.float16]:
        return self.random.normal(0, 1, shape).astype(np.float16)

    def pack(self, lab: Lab) -> None:
        """Before other inputs are put, which a run forgets."""
        filled = [np.pad(m, ((0, 0), (0, -m.shape[1] % PANEL), (0, 0))) for m in self.downs]
        self.down_panels = packed(lab, np.concatenate(filled, axis=1))
        self.up_panels = packed(lab, np.concatenate(self.ups, axis=2))

    @property
    def adapters(self) -> list[int]:
        return [n for n, panels in enumerate(self.panels) for _ in range(panels)]

    @property
    def parts(self) -> NDArray[np.int64]:
        starts = PANEL * np.cumsum([0, *self.panels])
        rows = zip(range(len(self.ranks)), self.ranks, starts, map(float_bits, self.factors))  # noqa: B905
        return np.array([*rows], np.int64)

    def added(self, row: int, x: NDArray[Any], expert: int = 0) -> NDArray[np.float64]:
        """What a row's adapters add to its outputs."""
        total = np.zeros(self.n_out)
        for n, (down, up) in enumerate(zip(self.downs, self.ups, strict=True)):
            product = up[expert].astype(np.float64) @ (down[expert].astype(np.float64) @ x)
            total += float(self.scales[row, n]) * self.factors[n] * product
        return total

    def of_rows(self, rows_of: int) -> dict[str, int]:
        names = {EVERY_ROW: "all", LOGIT_ROWS: "logits"}
        return {
            "n_adapters": len(self.ranks),
            "rows_of": rows_of,
            "scales": layout.SCALES_OF[names[rows_of]],
        }


def packed(lab: Lab, matrices: NDArray[np.float16]) -> NDArray[np.uint8]:
    each = [np.ascontiguousarray(m).view(np.uint8).reshape(*m.shape, 2) for m in matrices]
    return np.concatenate([lab.pack(one, "F16") for one in each])


def down_record(case: Case, lab: Lab, x: NDArray[Any], t: Buffer, rows_of: int) -> dict[str, int]:
    return {
        "x": lab.put(x),
        "weights": lab.put(case.down_panels),
        "out": t.address,
        "n_in": case.n_in,
        "n_panels": sum(case.panels),
        "adapters": lab.put(np.array(case.adapters, np.int64)),
        **case.of_rows(rows_of),
    }


def up_record(case: Case, lab: Lab, t: Buffer, out: Buffer, rows_of: int) -> dict[str, int]:
    return {
        "y": lab.put(case.y),
        "t": t.address,
        "weights": lab.put(case.up_panels),
        "out": out.address,
        "n_out": case.n_out,
        "parts": lab.put(case.parts),
        "n_parts": len(case.ranks),
        "n_runs": case.n_runs,
        "run": case.run,
        **case.of_rows(rows_of),
    }


@few
@given(seeds, st.integers(1, 11), n_ins, n_outs, ranks, st.booleans())
def test_rows_get_what_their_adapters_add(
    lab: Lab, seed: int, n_rows: int, n_in: int, n_out: int, ranks: list[int], residual: bool
) -> None:
    case = Case(seed, (n_rows, n_in, n_out), ranks)
    rows_of = EVERY_ROW if seed % 2 else LOGIT_ROWS
    case.pack(lab)
    t, out = (
        Buffer((n_rows, case.n_runs * case.run), np.float32),
        Buffer((n_rows, n_out), np.float32),
    )
    more = case.normal(n_rows, n_out)
    down = lab.record(layout.LORA_DOWN, **down_record(case, lab, case.x, t, rows_of))
    up = lab.record(
        layout.LORA_UP,
        **up_record(case, lab, t, out, rows_of),
        residual=lab.put(more) if residual else 0,
    )
    counts = {"n_rows" if seed % 2 else "n_logits": n_rows}
    scales = {"scales" if seed % 2 else "logit_scales": lab.put(case.scales)}
    got = lab.run([("lora_down", down), ("lora_up", up)], [out, t], **counts, **scales)[0]
    plain = case.y + more if residual else case.y
    expected = np.array([case.added(i, case.x[i]) for i in range(n_rows)])
    assert nmse(got - plain, expected) < 1e-9 or nmse(got, plain + expected) < 1e-12
    unused = ~case.scales.any(axis=1)
    np.testing.assert_array_equal(got[unused], plain[unused])


@few
@given(seeds, st.integers(1, 5), n_ins, n_outs, ranks, st.booleans())
def test_routed_rows_get_what_those_of_their_experts_add(
    lab: Lab, seed: int, n_rows: int, n_in: int, n_out: int, ranks: list[int], routed: bool
) -> None:
    n_experts, n_used = 3, 2
    case = Case(seed, (n_rows, n_in, n_out), ranks, n_experts)
    chosen = np.array([case.random.permutation(n_experts)[:n_used] for _ in range(n_rows)])
    route = np.concatenate([chosen, case.normal(n_rows, n_used)], axis=1).astype(np.float32)
    places = case.random.permutation(n_rows * n_used).astype(np.int32)
    x = case.normal(len(places), n_in) if routed else case.x
    case.y = case.normal(len(places), n_out)
    case.pack(lab)
    t = Buffer((n_rows, n_used * case.n_runs * case.run), np.float32)
    out = Buffer(case.y.shape, np.float32)
    where = {"route": lab.put(route), "places": lab.put(places), "n_used": n_used}
    down = lab.record(
        layout.EXPERT_LORA_DOWN,
        **down_record(case, lab, x, t, EVERY_ROW),
        **where,
        routed=int(routed),
        weighted=int(not routed),
    )
    up = lab.record(
        layout.EXPERT_LORA_UP, **up_record(case, lab, t, out, EVERY_ROW), **where, residual=0
    )
    calls = [("expert_lora_down", down), ("expert_lora_up", up)]
    got = lab.run(calls, [out, t], n_rows=n_rows, scales=lab.put(case.scales))[0]
    added = np.zeros(case.y.shape)
    for row in range(n_rows):
        for choice in range(n_used):
            place = places[row * n_used + choice]
            own = x[place] if routed else x[row] * route[row, n_used + choice].astype(np.float64)
            added[place] = case.added(row, own, chosen[row, choice])
    assert nmse(got - case.y, added) < 1e-9 or nmse(got, case.y + added) < 1e-12
