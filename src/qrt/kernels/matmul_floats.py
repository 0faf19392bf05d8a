"""Matmul of many rows with plain numbers: they are laid out as float32 once and meet all rows.

The arithmetic and its order are those of `matmul`. Of a few panels K_AT_ONCE k lie side by side in
the first-level cache, and the activation rows pass over them. Their sums, of even k and of odd,
wait in the scratch memory meanwhile.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.addresses import anchored, prefetch, prefetch_run
from qrt.kernels.instructions import register_lanes
from qrt.kernels.intrinsics import each_of, fma, load_wide, store, zeros
from qrt.kernels.jit import inline
from qrt.kernels.layout import ROW_TILE, SCRATCH
from qrt.kernels.matmul import FLOATS
from qrt.kernels.panels import PanelFormat
from qrt.kernels.shuffles import concat, repeat

K_AT_ONCE = 128
"""Values of a panel that are laid out at a time: 16 KB of two panels; 16 KB of the rows fit the
first-level cache beside them. Measured: 96 is 2% slower, 256 a fifth."""


def _each_x(lanes: int) -> tuple[int, Any]:
    """How many rows meet the weights at once, and each(x, apart): a value of each in `lanes` lanes;
    those of the second ROW_TILE lie `apart` behind the first.
    """
    first = each_of("f32", ROW_TILE, 4, lanes)

    @inline
    def one_tile(x, apart):
        return first(x)

    @inline
    def two_tiles(x, apart):
        return concat(first(x), first(x + apart))

    return (2 * ROW_TILE, two_tiles) if register_lanes() == 16 else (ROW_TILE, one_tile)


def float_products(
    fmt: PanelFormat, tile_rows: int, n_panels: int, finish_rows: Any, most: int
) -> Any:
    """products of up to `most` rows of plain numbers, as in `matmul_prefill.many_rows`."""
    lanes, vector = 16 * n_panels, 64 * n_panels
    at_once, each_x = _each_x(lanes)
    load_one, load_w, load_sums = FLOATS[fmt.qtype], load_wide(lanes), load_wide(lanes * at_once)
    nothing, rows = zeros(lanes * at_once), repeat(at_once)
    k_bytes, x_step, size = fmt.panel_bytes, 4 * tile_rows, vector * at_once
    sums_bytes, ask_near = 2 * vector * most, prefetch_run(1, level=1)
    n_tiles = max(1, at_once // tile_rows)
    assert sums_bytes + K_AT_ONCE * vector <= SCRATCH

    @inline
    def lay_out(target, p, n_k):
        """Values of one panel as float32; as many that follow are asked for."""
        ahead = n_k * k_bytes
        for at in range(p, p + ahead, 64):
            prefetch(at, ahead)
        for _ in range(n_k):
            store(target, load_one(p))
            target += vector
            p += k_bytes

    @inline
    def meet(sums, w, x, apart, n_k, fresh, tile_bytes):
        """Even k, then odd; of the next rows the same k are asked for meanwhile, of two tiles one
        with either.
        """
        for side in range(2):
            total = nothing()
            if not fresh:
                total = load_sums(sums)
            at, weights = x + side * x_step, w + side * vector
            ahead = (n_tiles + side * (n_tiles - 1)) * tile_bytes
            for _ in range((n_k + 1 - side) >> 1):
                at = anchored(at)
                ask_near(at, ahead)
                total = fma(rows(load_w(weights)), each_x(at, apart), total)
                weights += 2 * vector
                at += 2 * x_step
            store(sums, total)
            sums += size

    @inline
    def products(
        kept, p, panel_bytes, n_here, x, n_x, n_in, n_rows, scale, bias, args, out, first, panel
    ):
        numbers, tile_bytes = kept + sums_bytes, 4 * tile_rows * n_x
        for k in range(0, n_in, K_AT_ONCE):
            n_k = min(K_AT_ONCE, n_in - k)
            for i in range(n_here):
                lay_out(numbers + 64 * i, p + i * panel_bytes + k * k_bytes, n_k)
            for row in range(0, n_rows, at_once):
                sums, at = kept + 2 * vector * row, x + 4 * (k * tile_rows + row % tile_rows)
                apart = 4 * ROW_TILE
                if tile_rows == ROW_TILE:
                    apart = tile_bytes if row + ROW_TILE < n_rows else 0
                at += row // tile_rows * tile_bytes
                meet(sums, numbers, at, apart, n_k, k == 0, tile_bytes)
                if k + n_k == n_in:
                    store(sums, load_sums(sums) + load_sums(sums + size))
                    n = min(at_once, n_rows - row)
                    finish_rows(sums, n, n_here, scale, bias, args, out, first + row, panel)

    return products
