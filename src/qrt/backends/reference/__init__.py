"""The reference backend: NumPy in float64."""

from qrt.backends.reference.executor import prepare

__all__ = ["prepare"]
