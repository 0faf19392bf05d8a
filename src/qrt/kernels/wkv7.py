"""RWKV-7's state, which forgets what a key stood for (Peng et al. 2025)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import fma, load_f32, load_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import WKV7
from qrt.kernels.norm import total
from qrt.kernels.wkv import Lanes, over_states


def build() -> Any:
    def advance_by(lanes: Lanes) -> Any:
        load, store, nothing = lanes

        @inline
        def advance(args, row, head, n, column, source, target):
            at = 4 * (row * load_i64(args + WKV7.n_heads) + head) * n
            r, k = load_i64(args + WKV7.r) + at, load_i64(args + WKV7.k) + at
            decay, rate = load_i64(args + WKV7.decay) + at, load_i64(args + WKV7.rate) + at
            removed = load_i64(args + WKV7.removed) + at
            v = load(load_i64(args + WKV7.v) + at + 4 * column)
            stood, y = nothing(), nothing()
            for i in range(0, 4 * n, 4):
                stood = fma(load(source + i * n + 4 * column), load_f32(removed + i), stood)
            stood = stood / (0.0 - max(total(removed, n, 0.0, 2), 1e-24))
            for i in range(0, 4 * n, 4):
                place = i * n + 4 * column
                gained = fma(stood, load_f32(removed + i) * load_f32(rate + i), v * load_f32(k + i))
                state = fma(load(source + place), load_f32(decay + i), gained)
                store(target + place, state)
                y = fma(state, load_f32(r + i), y)
            store(load_i64(args + WKV7.out) + at + 4 * column, y)
            return y

        return advance

    return over_states(WKV7, advance_by)
