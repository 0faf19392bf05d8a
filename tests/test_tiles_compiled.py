"""What prefill on tile registers is compiled to."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections import Counter

import pytest

from qrt.kernels.isa import TIERS

ASSEMBLY = """
import numba
from qrt.kernels import instructions, matmul_prefill
from qrt.kernels.jit import KERNEL, OPTIONS

instructions.select("amx")
kernel = numba.njit(KERNEL, **OPTIONS)(matmul_prefill.build("Q4_K", "16", "2"))
library = kernel.overloads[KERNEL.args].library
library.whole()
print(library.get_asm_str())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compiles for x86")
def test_what_the_tier_is_compiled_to() -> None:
    """Tile registers: let go of wherever they were configured, and no call in between."""
    tier = TIERS["amx"]
    cpu = {"NUMBA_CPU_NAME": tier.llvm_cpu, "NUMBA_CPU_FEATURES": tier.llvm_features}
    command = [sys.executable, "-c", ASSEMBLY]
    done = subprocess.run(
        command, env={**os.environ, **cpu}, capture_output=True, text=True, timeout=120, check=True
    )
    found = re.findall(r"^\t([a-z]\w*)", done.stdout, re.MULTILINE)
    counts = Counter(found)
    assert counts["ldtilecfg"] == counts["tilerelease"] > 0
    assert not any(name.startswith("call") for name in found)
    assert counts["tileloadd"] >= counts["tdpbssd"] == counts["tilezero"] > 0
    assert counts["tilestored"] > counts["tilezero"]
