"""Measure attention alone, of one row over a long cache, beside reading the same bytes."""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
from kernel_job import Job, compiled, job, read_job
from numpy.typing import NDArray
from report import Row, Share, gb_s, median, write

from qrt.backends.base import kv_types
from qrt.backends.cpu.memory import reserve
from qrt.backends.cpu.ops.attention import kernel, scratch_bytes
from qrt.backends.cpu.tiling import few
from qrt.backends.cpu.variant import Variant, bits
from qrt.config import default_threads, read_env
from qrt.formats.cache_types import CACHE_BYTES, CACHE_TYPES
from qrt.graph.lower import Task
from qrt.graph.ops.attention import Attention
from qrt.kernels.isa import choose
from qrt.kernels.layout import ATTENTION, PAGE, STEP, fill
from qrt.kernels.objects import Library
from qrt.kernels.team import Team, aligned

SHAPES = ((256, 8, 2), (128, 16, 8), (64, 32, 8), (128, 8, 8), (128, 32, 4))
"""Width of a head, query heads, kv heads."""
LAYERS = 3


def attention(head_dim: int, n_heads: int, n_kv_heads: int) -> Attention:
    """Attention to all positions, keys and values of one width."""
    widths = n_heads, n_kv_heads, head_dim, head_dim
    return Attention("out", "q", 0, *widths, scale=float(head_dim) ** -0.5)


def kernel_of(op: Attention, kv_type: str) -> str:
    """The kernel that the CPU runs `op` with."""
    return kernel(op, Task(op), Variant({}, kv_type, few(1)))


def attention_job(
    library: Library,
    op: Attention,
    kv_type: str,
    depth: int,
    pages: NDArray[np.uint8],
    threads: int,
) -> Job:
    """Attention of one row at position depth - 1 to a layer at `pages`."""
    n_pages = depth // PAGE
    q = aligned(4 * op.n_heads * op.k_width)
    q.view(np.float32)[:] = np.random.default_rng(0).normal(size=op.n_heads * op.k_width)
    out, partials = np.zeros_like(q), reserve(scratch_bytes(op, depth, 1))
    positions, table = np.full(1, depth - 1, np.int32), np.arange(n_pages, dtype=np.int32)
    row_tables = np.array([table.ctypes.data])
    groups = np.array([row_tables.ctypes.data])
    zeros = dict.fromkeys(
        ("layer", "group", "window", "chunked", "softcap", "sinks", "bias", "bias_stride", "sees"),
        0,
    )
    values = zeros | {
        "q": q.ctypes.data,
        "out": out.ctypes.data,
        "pages": pages.ctypes.data,
        "n_heads": op.n_heads,
        "n_kv_heads": op.n_kv_heads,
        "k_width": op.k_width,
        "v_width": op.v_width,
        "page_stride": pages.size // n_pages,
        "scale": bits(op.scale),
        "partials": partials.ctypes.data,
    }
    kept = (q, out, partials, positions, table, row_tables, groups, pages)
    address = library.address(kernel_of(op, kv_type))
    made = job(address, list(fill(ATTENTION, values)), 1, threads, kept)
    words = made.step.view(np.int64)
    words[STEP.positions // 8], words[STEP.tables // 8] = positions.ctypes.data, groups.ctypes.data
    return made


def measure(
    team: Team, library: Library, op: Attention, kv_type: str, args: argparse.Namespace
) -> Row:
    """Attention of LAYERS layers beside reading what they hold."""
    row_bytes = sum(CACHE_BYTES[part] * op.k_width // 32 for part in kv_types(kv_type))
    layer_bytes = args.depth * op.n_kv_heads * row_bytes
    cache = reserve(LAYERS * layer_bytes, huge=True)
    cache[:] = 0x2C  # numbers of about 0.07 as f16, in blocks too
    make = partial(attention_job, library, op, kv_type, args.depth)
    layers = [make(pages, args.threads) for pages in cache.reshape(LAYERS, -1)]
    read = read_job(library, cache[: cache.size // 1024 * 1024], args.threads)
    turns = [
        (read.seconds(team), sum(layer.seconds(team) for layer in layers))
        for _ in range(args.repeat + 1)
    ][1:]
    seconds = median(attention_s for _, attention_s in turns)
    return {
        "head": op.k_width,
        "query heads": op.n_heads,
        "kv heads": op.n_kv_heads,
        "cache": kv_type,
        "attention / read": Share(median(read_s / attention_s for read_s, attention_s in turns)),
        "attention GB/s": gb_s(cache.size, seconds),
        "read GB/s": gb_s(cache.size, median(read_s for read_s, _ in turns)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-t", "--threads", type=int, default=default_threads())
    parser.add_argument("-r", "--repeat", type=int, default=15, help="runs; the median is shown")
    parser.add_argument("-d", "--depth", type=int, default=32768, help=f"a multiple of {PAGE}")
    parser.add_argument("-c", "--cache", default="f16,q8_0", help=f"of {', '.join(CACHE_TYPES)}")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    kv_types_asked = args.cache.split(",")
    if args.depth < PAGE or args.depth % PAGE or not CACHE_TYPES.keys() >= set(kv_types_asked):
        parser.error(f"depth is a multiple of {PAGE}, caches are of {', '.join(CACHE_TYPES)}")
    wanted = [(attention(*shape), kv_type) for kv_type in kv_types_asked for shape in SHAPES]
    library = compiled((kernel_of(*pair) for pair in wanted), choose(read_env().isa))
    team = Team(args.threads, library)
    write([measure(team, library, *pair, args) for pair in wanted], args.output)
    team.close()


if __name__ == "__main__":
    main()
