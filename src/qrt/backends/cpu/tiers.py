"""This CPU: its name, the instruction tiers it can run, and what it offers of what they need."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from qrt.config import Env
from qrt.kernels import isa, shipped


def cpu_name() -> str:
    """The CPU's name as its maker writes it, or its architecture."""
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return platform.processor() or platform.machine()


def tier_in_use(env: Env) -> str:
    """The tier that kernels are compiled for. Raises BackendError where none can be."""
    return isa.choose(env.isa).name


def is_shipped(tier: str) -> bool:
    """Whether object code of a tier came with this package."""
    return (shipped.FOLDER / shipped.archive_name(isa.TIERS[tier])).is_file()


def obstacles() -> dict[str, str]:
    """Why this CPU cannot run each tier, the weakest first; empty where it can."""
    features = isa.host_features()
    return {tier.name: isa.missing(tier, features) for tier in isa.TIERS.values()}


def offered_features() -> tuple[str, ...]:
    """Those that some tier asks for and this CPU has."""
    wanted = frozenset[str]().union(*(tier.needs for tier in isa.TIERS.values()))
    return tuple(sorted(wanted & isa.host_features()))
