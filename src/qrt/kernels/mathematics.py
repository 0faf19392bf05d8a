"""exp and what follows from it, on vectors; relative error about 1e-7."""

from __future__ import annotations

import math

from qrt.kernels.intrinsics import as_f32, as_i32, fma, to_i32, vmax, vmin
from qrt.kernels.jit import inline

LOG2_E = 1.4426950408889634
LN2_HIGH = 355.0 / 512.0
LN2_LOW = math.log(2.0) - LN2_HIGH
"""ln(2) in two parts (Cody and Waite 1980): times a whole number below 2**15 the first is exact."""
TO_INTEGER = 12582912.0
"""1.5 * 2**23: added and taken away again, it rounds to the nearest whole number."""

EXP_TERMS = (1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0)
"""Taylor's coefficients, which on |r| <= ln(2) / 2 leave 1.2e-7 of the value."""

LOG_TERMS = (2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0)
"""Of log((1 + s) / (1 - s)), which on s <= 1 / 3 leave 1e-8."""

SIGN = -0x80000000
"""The sign of a float32 as an int32."""


@inline
def vexp(x):
    """e**x lane by lane: 2**n * e**r with n whole; below -87 it is about 1e-38, above 88 2e38."""
    x = vmin(vmax(x, -87.0), 88.0)
    n = (x * LOG2_E + TO_INTEGER) - TO_INTEGER
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    y = fma(r, EXP_TERMS[0], EXP_TERMS[1])
    y = fma(y, r, EXP_TERMS[2])
    y = fma(y, r, EXP_TERMS[3])
    y = fma(y, r, EXP_TERMS[4])
    y = fma(y, r, EXP_TERMS[5])
    y = fma(y, r, 1.0)
    return y * as_f32((to_i32(n) + 127) << 23)


@inline
def sigmoid(x):
    """1 / (1 + e**-x)"""
    return 1.0 / (1.0 + vexp(0.0 - x))


@inline
def softplus(x):
    """log(1 + e**x) = max(x, 0) + log(1 + u), u = e**-|x|; the logarithm by its atanh series."""
    u = vexp(as_f32(as_i32(x) | SIGN))
    s = u / (u + 2.0)
    square = s * s
    y = square * LOG_TERMS[0] + LOG_TERMS[1]
    for term in LOG_TERMS[2:]:
        y = fma(y, square, term)
    return vmax(x, 0.0) + s * y


@inline
def silu(x):
    """x * sigmoid(x)"""
    return x / (1.0 + vexp(0.0 - x))


@inline
def gelu(x):
    """Its tanh form, x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x**3)) (Hendrycks, Gimpel 2016)."""
    inner = 1.5957691216057308 * fma(0.044715 * x, x * x, x)
    return x / (1.0 + vexp(0.0 - inner))


@inline
def vtanh(x):
    """1 - 2 / (e**2x + 1)"""
    return 1.0 - 2.0 / (vexp(x + x) + 1.0)
