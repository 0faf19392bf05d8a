"""The reference backend: NumPy in float64."""

from qrt.backends.reference.executor import check, choices, prepare

__all__ = ["check", "choices", "prepare"]
