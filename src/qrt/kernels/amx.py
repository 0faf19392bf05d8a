"""Whether tile registers (AMX) may be used: the system is asked, then a child process tries them.

The child, `python -m qrt.kernels.amx DIRECTORY`, compiles and runs a small matmul: whatever kills
it leaves this process alone. That it went well is kept beside the kernels in DIRECTORY.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

from qrt.config import cache_dir, read_env
from qrt.errors import QrtError
from qrt.kernels.isa import TIERS, Tier
from qrt.kernels.layout import LINE, LINE_AT, MATMUL, SCRATCH, STEP, TILE_ROWS, fill
from qrt.kernels.objects import cache_key, load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team, aligned, lone_record

ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
TIMEOUT_S = 300
KERNEL = "matmul_prefill.Q8_0.16.2"
VERDICT = "tiles-work"
"""A file that holds the release of the system under which they did."""


def permission() -> str:
    """Asks the system for tile registers, for all threads of this process; why it says no."""
    if sys.platform != "linux":
        return "tile registers are used on Linux only"
    numbers = (ctypes.c_long(n) for n in (ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA))
    if ctypes.CDLL(None, use_errno=True).syscall(*numbers):
        return f"Linux does not permit tile registers: {os.strerror(ctypes.get_errno())}"
    return ""


@cache
def refused() -> str:
    """Why the tier cannot be used here; empty when it can."""
    try:
        return permission() or why_not(TIERS["amx"], cache_dir(read_env()))
    except QrtError as error:
        return str(error)


def why_not(tier: Tier, directory: Path) -> str:
    """Why a child process that multiplies on `tier` fails; empty when it does not, or did not."""
    verdict = directory / cache_key(tier) / VERDICT
    command = [sys.executable, "-P", "-m", "qrt.kernels.amx", str(directory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        if verdict.is_file() and verdict.read_text() == platform.release():
            return ""
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            return f"a trial of tile registers failed: {last[0]}"
        verdict.write_text(platform.release())
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"a trial of tile registers failed: {error}"
    return ""


def multiplies(tier: Tier, directory: Path) -> bool:
    """Whether two threads get 20 rows of 64 whole numbers times 40 outputs exactly right."""
    names = (*TEAM_KERNELS, KERNEL)
    library = load_kernels(names, tier, directory, lambda: 1, lambda *_: None)
    rng = np.random.default_rng(0)
    x = rng.integers(-99, 100, (32, 64)).astype(np.int8)
    w = rng.integers(-99, 100, (48, 64)).astype(np.int8)
    lines = aligned(2 * 2 * TILE_ROWS * LINE).reshape(2, 2, TILE_ROWS, LINE)  # tiles, blocks
    lines[..., : LINE_AT.scale] = x.view(np.uint8).reshape(2, 16, 2, 32).transpose(0, 2, 1, 3)
    lines[..., LINE_AT.scale : LINE_AT.nsum] = np.ones(1, np.float32).view(np.uint8)
    panels = np.empty((3, 2, 16 * 34), np.uint8)  # of Q8_0: 16 scales, then 4 k of 16 rows
    panels[:, :, :32] = np.ones(16, np.float16).view(np.uint8)
    codes = w.view(np.uint8).reshape(3, 16, 2, 8, 4).transpose(0, 2, 3, 1, 4)
    panels[:, :, 32:] = codes.reshape(3, 2, -1) ^ 0x80
    n_threads, (n_rows, n_out) = 2, (20, 40)
    out = np.zeros((n_rows, n_out), np.float32)
    scratch, step = aligned(n_threads * SCRATCH), aligned(STEP.size)
    step.view(np.int64)[[STEP.n_rows // 8, STEP.scratch // 8]] = n_rows, scratch.ctypes.data
    values = {
        "weights": panels.ctypes.data,
        "x": lines.ctypes.data,
        "out": out.ctypes.data,
        "stride": n_out,
        "bias": 0,
        "residual": 0,
        "n_in": 64,
        "n_out": n_out,
        "rows_of": STEP.n_rows,
        "scale": int(np.float32(1.0).view(np.int32)),
    }
    args = np.array(list(fill(MATMUL, values)), np.int64)
    team = Team(n_threads, library)
    team.run(lone_record(library.address(KERNEL), args), step.ctypes.data)
    team.close()
    return bool((out == (x.astype(int) @ w.T.astype(int))[:n_rows, :n_out]).all())


def main() -> str:
    """Why the trial failed; empty when it did not."""
    if why := permission():
        return why
    return "" if multiplies(TIERS["amx"], Path(sys.argv[1])) else "wrong results"


if __name__ == "__main__":
    sys.exit(main() or None)
