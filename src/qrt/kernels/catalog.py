"""Where each kernel is built: those of family X by `build` in `kernels/X.py`, but for a few.

A kernel is named `family` or `family.parameter...`. Plain data: the builders are imported only
where kernels are compiled.
"""

from __future__ import annotations

ELSEWHERE: dict[str, tuple[str, str]] = {  # family -> (module, builder)
    "run": ("tape", "build_run"),
    "work": ("tape", "build_work"),
    "read": ("gauges", "build_read"),
    "peak": ("gauges", "build_peak"),  # .unit
    "clock": ("gauges", "build_clock"),
}


def builder_of(family: str) -> tuple[str, str]:
    """(module, function) that builds the kernels of a family."""
    return ELSEWHERE.get(family, (family, "build"))
