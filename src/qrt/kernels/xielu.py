"""xIELU (Huang and Schlag 2024)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import as_i32, load_f32, load_i64, to_f32, vmax, vmin
from qrt.kernels.jit import inline
from qrt.kernels.layout import XIELU
from qrt.kernels.mathematics import vexp
from qrt.kernels.rows import along, row_count


@inline
def bent(x, _, parameters):
    """alpha_p x**2 above 0, alpha_n (exp(min(x, eps)) - 1 - x) below, and beta x."""
    alpha_p, alpha_n, beta, eps = parameters
    above, below = vmax(x, 0.0), vmin(x, 0.0)
    is_below = to_f32(as_i32(x) >> 31)
    curve = (vexp(vmin(x, eps)) - 1.0 - below) * is_below
    return alpha_p * above * above + alpha_n * curve + beta * x


bend_row = along(bent)


def build() -> Any:
    def xielu(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + XIELU.rows_of), load_i64(args + XIELU.n_in)
        p, m = load_f32(args + XIELU.alpha_p), load_f32(args + XIELU.alpha_n)
        beta, eps = load_f32(args + XIELU.beta), load_f32(args + XIELU.eps)
        lines, floats = load_i64(args + XIELU.lines), load_i64(args + XIELU.floats)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + XIELU.x) + 4 * row * n
            out = load_i64(args + XIELU.out) + 4 * row * n
            bend_row(x, x, out, n, (p, m, beta, eps))
            hand_over(out, n, row, load_i64(args + XIELU.tile_rows), lines, floats)

    return xielu
