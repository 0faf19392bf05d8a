"""The first product of low-rank adapters of experts, for each row and each expert it goes to."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i32, load_i64, store, zeros
from qrt.kernels.layout import EXPERT_LORA_DOWN, LORA_RUN, STEP
from qrt.kernels.lora_down import K_BYTES, add_one, scales_of

none = zeros(16)


def build() -> Any:
    def expert_lora_down(step, args, thread, n_threads):
        n_in, n_used = (
            load_i64(args + EXPERT_LORA_DOWN.n_in),
            load_i64(args + EXPERT_LORA_DOWN.n_used),
        )
        n_panels = load_i64(args + EXPERT_LORA_DOWN.n_panels)
        weights, adapters = (
            load_i64(args + EXPERT_LORA_DOWN.weights),
            load_i64(args + EXPERT_LORA_DOWN.adapters),
        )
        scales = scales_of(step, args + EXPERT_LORA_DOWN.scales)
        n_adapters = load_i64(args + EXPERT_LORA_DOWN.n_adapters)
        xs, outs = load_i64(args + EXPERT_LORA_DOWN.x), load_i64(args + EXPERT_LORA_DOWN.out)
        routes, places = (
            load_i64(args + EXPERT_LORA_DOWN.route),
            load_i64(args + EXPERT_LORA_DOWN.places),
        )
        routed, weighted = (
            load_i64(args + EXPERT_LORA_DOWN.routed),
            load_i64(args + EXPERT_LORA_DOWN.weighted),
        )
        n_pieces = (n_in + LORA_RUN - 1) // LORA_RUN * n_panels
        n_all = load_i64(step + STEP.n_rows) * n_used * n_pieces
        for i in range(n_all * thread // n_threads, n_all * (thread + 1) // n_threads):
            item, piece = i // n_pieces, i % n_pieces
            row, choice = item // n_used, item % n_used
            k, panel = piece // n_panels * LORA_RUN, piece % n_panels
            scale = scales + 4 * (n_adapters * row + load_i64(adapters + 8 * panel))
            if load_f32(scale) != 0.0:
                route = routes + 4 * (2 * n_used * row + choice)
                x_row = load_i32(places + 4 * item) if routed else row
                matrix = int(load_f32(route)) * n_panels + panel
                p, x = weights + (matrix * n_in + k) * K_BYTES, xs + 4 * (x_row * n_in + k)
                acc = add_one(none(), p, x, 0, min(LORA_RUN, n_in - k))
                if weighted:
                    acc = acc * load_f32(route + 4 * n_used)
                store(outs + 64 * i, acc)

    return expert_lora_down
