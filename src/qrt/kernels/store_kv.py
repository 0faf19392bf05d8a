"""Keys and values of a step's rows go into their pages; see `attention` for how these lie."""

from __future__ import annotations

from typing import Any

from qrt.formats.cache_types import CACHE_BYTES
from qrt.kernels.activations import padded
from qrt.kernels.intrinsics import load_i32, load_i64
from qrt.kernels.kv_caches import CACHES
from qrt.kernels.layout import PAGE, SCRATCH, STEP, STORE_KV
from qrt.kernels.rows import page_of


def build(k_type: str, v_type: str) -> Any:
    """Writes the k and v of every row into its page; v_type "k" is V that is in K."""
    v_in_k = v_type == "k"
    write_k, _ = CACHES[k_type].writers(k_type)
    if not v_in_k:
        _, write_v = CACHES[v_type].writers(v_type)
    k_bytes, v_bytes = CACHE_BYTES[k_type], CACHE_BYTES.get(v_type, 0)

    def store_kv(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n_heads, group = load_i64(args + STORE_KV.n_kv_heads), load_i64(args + STORE_KV.group)
        k_width, v_width = load_i64(args + STORE_KV.k_width), load_i64(args + STORE_KV.v_width)
        pages, page_stride = load_i64(args + STORE_KV.pages), load_i64(args + STORE_KV.page_stride)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        k_padded, v_padded = padded(k_width), padded(v_width)
        k_part, v_part = PAGE * (k_padded >> 5) * k_bytes, PAGE * (v_padded >> 5) * v_bytes
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            position = load_i32(positions + 4 * row)
            page = page_of(step, group, row, position, pages, page_stride)
            slot = position % PAGE
            k = load_i64(args + STORE_KV.k) + 4 * row * n_heads * k_width
            v = load_i64(args + STORE_KV.v) + 4 * row * n_heads * v_width
            for _ in range(n_heads):
                write_k(k, k_width, k_padded, scratch, page, slot)
                if not v_in_k:
                    write_v(v, v_width, v_padded, scratch, page + k_part, slot)
                page += k_part + v_part
                k += 4 * k_width
                v += 4 * v_width

    return store_kv
