"""How kernels and their parts are handed to numba."""

from __future__ import annotations

from typing import Any

import numba
from numba.core import types

from qrt.kernels.frontend import Frontend

OPTIONS = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True,
           "no_cfunc_wrapper": True, "pipeline_class": Frontend}  # fmt: skip

KERNEL = types.void(types.int64, types.int64, types.int64, types.int64)
"""kernel(step, args, thread, n_threads): two addresses, which thread this is, of how many."""

inline: Any = numba.njit(forceinline=True, **OPTIONS)
"""A part of a kernel: compiled into its callers, never a call of its own."""
