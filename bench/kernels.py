"""Measure single kernels: decode matmul beside reading the weights' bytes, and prefill matmul.

Bytes are those that the weights have in a file, also where panels have more.
"""

from __future__ import annotations

import argparse

import numpy as np
from kernel_job import Job, compiled, job, read_job
from numpy.typing import NDArray
from report import Row, Share, counts, gb_s, median, note, shown, write

from qrt.backends.cpu.memory import reserve
from qrt.backends.cpu.tiling import few, many
from qrt.config import default_threads, read_env
from qrt.kernels.isa import Tier, choose
from qrt.kernels.layout import MATMUL, ROWS_OF, fill
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat
from qrt.kernels.team import Team, aligned

N_IN = 2048
PREFILL_ROWS, PREFILL_OUT = 512, 4096


def matmul_job(
    library: Library,
    tier: Tier,
    fmt: PanelFormat,
    panels: NDArray[np.uint8],
    n_out: int,
    n_rows: int,
    n_threads: int,
) -> Job:
    """Weights (n_out, N_IN) times activations (n_rows, N_IN)."""
    tiling = few(1) if n_rows == 1 else many(tier)
    x = aligned(8 * n_rows * N_IN)
    x.view(np.float32)[:] = 1.0
    out = aligned(4 * n_rows * n_out)
    values = {
        "weights": panels.ctypes.data,
        "x": x.ctypes.data,
        "out": out.ctypes.data,
        "stride": n_out,
        "bias": 0,
        "residual": 0,
        "n_in": N_IN,
        "n_out": n_out,
        "rows_of": ROWS_OF["all"],
        "scale": int(np.float32(1).view(np.int32)),
    }
    kernel = library.address(tiling.matmul.format(fmt.qtype))
    return job(kernel, list(fill(MATMUL, values)), n_rows, n_threads, (panels, x, out))


def panels_of(mib: int) -> NDArray[np.uint8]:
    """Bytes that are plain numbers in every format, as many as `mib` says."""
    pool = np.random.default_rng(0).integers(0x30, 0x40, 1 << 20, np.uint8)
    data = reserve(mib << 20, huge=True)
    data.reshape(mib, -1)[:] = pool
    return data


def measure(
    team: Team,
    library: Library,
    tier: Tier,
    fmt: PanelFormat,
    data: NDArray[np.uint8],
    repeat: int,
) -> Row:
    """Decode and prefill of one format."""
    n_threads = team.n_threads
    n_blocks = N_IN // fmt.block_size
    n_out = data.size // (n_blocks * fmt.panel_bytes) * 16
    n_bytes = n_out * n_blocks * fmt.block_bytes
    read = read_job(library, data[: n_bytes // 1024 * 1024], n_threads)
    decode = matmul_job(library, tier, fmt, data, n_out, 1, n_threads)
    prefill_out = min(n_out, PREFILL_OUT)
    prefill = matmul_job(library, tier, fmt, data, prefill_out, PREFILL_ROWS, n_threads)
    for warm_up in (read, decode, prefill):
        warm_up.seconds(team)
    turns = [(read.seconds(team), decode.seconds(team)) for _ in range(repeat)]
    prefill_s = median(prefill.seconds(team) for _ in range(repeat))
    n_macs = PREFILL_ROWS * prefill_out * N_IN
    return {
        "format": fmt.qtype,
        "threads": n_threads,
        "decode / read": Share(median(read_s / decode_s for read_s, decode_s in turns)),
        "decode GB/s": gb_s(n_bytes, median(decode_s for _, decode_s in turns)),
        "read GB/s": gb_s(n_bytes, median(read_s for read_s, _ in turns)),
        "decode GMAC/s": n_out * N_IN / median(decode_s for _, decode_s in turns) / 1e9,
        "prefill GMAC/s": n_macs / prefill_s / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-f", "--formats", default=",".join(PANEL_FORMATS), help="names, by commas")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-r", "--repeat", type=int, default=7, help="runs; the median is shown")
    parser.add_argument("--mib", type=int, default=256, help="weights; well above the last cache")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    names = args.formats.split(",")
    unknown = [name for name in names if name not in PANEL_FORMATS]
    if unknown:
        parser.error(f"no such format: {', '.join(unknown)}; known: {', '.join(PANEL_FORMATS)}")
    tier = choose(read_env().isa)
    wanted = [tiling.matmul.format(name) for name in names for tiling in (few(1), many(tier))]
    library = compiled(wanted, tier)
    data = panels_of(args.mib)
    rows = []
    for n_threads in args.threads:
        team = Team(n_threads, library)
        for name in names:
            rows.append(measure(team, library, tier, PANEL_FORMATS[name], data, args.repeat))
            share = shown(rows[-1]["decode / read"])
            note(f"{name} on {n_threads} threads: {share} of the read speed")
        team.close()
    write(rows, args.output)


if __name__ == "__main__":
    main()
