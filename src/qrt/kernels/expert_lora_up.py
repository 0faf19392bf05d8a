"""The second product of low-rank adapters of experts, added to the routed rows."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i32, load_i64
from qrt.kernels.layout import EXPERT_LORA_UP, LORA_PART, SCRATCH, STEP
from qrt.kernels.lora_down import K_BYTES, scales_of
from qrt.kernels.lora_up import adapted, add_up, one_row


def build() -> Any:
    def expert_lora_up(step, args, thread, n_threads):
        n_out, n_used = (
            load_i64(args + EXPERT_LORA_UP.n_out),
            load_i64(args + EXPERT_LORA_UP.n_used),
        )
        parts, n_parts = (
            load_i64(args + EXPERT_LORA_UP.parts),
            load_i64(args + EXPERT_LORA_UP.n_parts),
        )
        n_runs, run = load_i64(args + EXPERT_LORA_UP.n_runs), load_i64(args + EXPERT_LORA_UP.run)
        weights, ts = load_i64(args + EXPERT_LORA_UP.weights), load_i64(args + EXPERT_LORA_UP.t)
        ys, outs = load_i64(args + EXPERT_LORA_UP.y), load_i64(args + EXPERT_LORA_UP.out)
        scales = scales_of(step, args + EXPERT_LORA_UP.scales)
        of_row = 4 * load_i64(args + EXPERT_LORA_UP.n_adapters)
        routes, places = (
            load_i64(args + EXPERT_LORA_UP.route),
            load_i64(args + EXPERT_LORA_UP.places),
        )
        u = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_panels, panel_bytes = (n_out + 15) >> 4, 0
        for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
            panel_bytes += load_i64(part + LORA_PART.rank) * K_BYTES
        n_all = load_i64(step + STEP.n_rows) * n_used * n_panels
        first, end = n_all * thread // n_threads, n_all * (thread + 1) // n_threads
        for i in range(first, end):
            item, panel = i // n_panels, i % n_panels
            row, choice = item // n_used, item % n_used
            of = scales + of_row * row
            if i == first or panel == 0:
                add_up(ts + 4 * item * n_runs * run, n_runs, run, parts, n_parts, of, u)
            expert = int(load_f32(routes + 4 * (2 * n_used * row + choice)))
            p = weights + (expert * n_panels + panel) * panel_bytes
            at = 4 * (load_i32(places + 4 * item) * n_out + 16 * panel)
            is_used, value = one_row(p, u, parts, n_parts, of)
            adapted(ys + at, 0, outs + at, min(16, n_out - 16 * panel), is_used, value)

    return expert_lora_up
