"""RWKV-6's weighted sums of keys and values (Peng et al. 2024), or gated linear attention."""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.intrinsics import fma, load_f32, load_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import WKV6
from qrt.kernels.wkv import Lanes, over_states


def build(kind: str = "") -> Any:
    """`kind` "gated" is without `first`: the state changes before it is read."""
    gated = kind == "gated"

    def advance_by(lanes: Lanes) -> Any:
        load, store, nothing = lanes

        @inline
        def advance(args, row, head, n, column, source, target):
            n_heads, n_kv_heads = load_i64(args + WKV6.n_heads), load_i64(args + WKV6.n_kv_heads)
            at = 4 * (row * n_heads + head) * n
            kv_at = 4 * (row * n_kv_heads + head * n_kv_heads // n_heads) * n
            r, decay = load_i64(args + WKV6.r) + at, load_i64(args + WKV6.decay) + at
            k, first = load_i64(args + WKV6.k) + kv_at, load_i64(args + WKV6.first) + 4 * head * n
            v = load(load_i64(args + WKV6.v) + kv_at + 4 * column)
            y = nothing()
            for i in range(0, 4 * n, 4):
                place, keep = i * n + 4 * column, load_f32(decay + i)
                state = load(source + place)
                if gated:
                    state = fma(state, keep, v * (load_f32(k + i) * (1.0 - keep)))
                    y = fma(state, load_f32(r + i), y)
                else:
                    gained = v * load_f32(k + i)
                    y = fma(fma(gained, load_f32(first + i), state), load_f32(r + i), y)
                    state = fma(state, keep, gained)
                store(target + place, state)
            if gated:
                y = y / math.sqrt(n)
            store(load_i64(args + WKV6.out) + at + 4 * column, y)
            return y

        return advance

    return over_states(WKV6, advance_by)
