"""The CPU backend: packed weights, tapes of compiled kernels, a thread team."""

from qrt.backends.cpu.executor import prepare

__all__ = ["prepare"]
