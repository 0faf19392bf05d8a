"""The reference backend: NumPy in float64."""

from qrt.backends.reference.executor import check, choices, footprint, prepare

__all__ = ["check", "choices", "footprint", "prepare"]
