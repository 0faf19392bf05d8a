"""The reference backend: NumPy in float64."""

from qrt.backends.reference.executor import choices, prepare

__all__ = ["choices", "prepare"]
