"""The CPU backend: packed weights, tapes of compiled kernels, a thread team."""

from qrt.backends.cpu.footprint import footprint
from qrt.backends.cpu.prepare import check, choices, prepare

__all__ = ["check", "choices", "footprint", "prepare"]
