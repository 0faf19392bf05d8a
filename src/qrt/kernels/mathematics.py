"""exp, log, erf and the activations made of them, on vectors; relative error about 1e-7.

What is not finite stays so, but in vexp, vlog, vtanh and verf, which have a value for everything.
"""

from __future__ import annotations

import math

from qrt.kernels.intrinsics import as_f32, as_i32, fma, to_f32, to_i32, vmax, vmin
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


HALF_BITS = 0x3F3504F3
"""sqrt(1 / 2) as bits: a float's distance from it, shifted, is the power of two nearest to it."""


@inline
def vlog(x):
    """log(x) of x >= 1: n log(2) + log(m), the latter as 2 artanh((m - 1) / (m + 1))."""
    above = as_i32(x) - HALF_BITS
    n = to_f32(above >> 23)
    m = as_f32((above & 0x7FFFFF) + HALF_BITS)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    y = fma(square, 2.0 / 9.0, 2.0 / 7.0)
    y = fma(y, square, 2.0 / 5.0)
    y = fma(y, square, 2.0 / 3.0)
    y = fma(y, square, 2.0)
    return fma(n, LN2_HIGH, fma(n, LN2_LOW, s * y))


ERF_ABOVE = (
    1.1283791392968852,
    0.193546082889682,
    0.05310188636727555,
    0.003883389779317044,
    0.00028456727549408794,
    1.9867787763194164e-06,
)
ERF_BELOW = (
    1.0,
    0.5048583052868274,
    0.1153504271921836,
    0.015207341846714883,
    0.001185582927839973,
    3.7420210328941544e-05,
)
"""erf(x) / x up to x = 4 as a quotient of polynomials of x**2, fitted to 2.5e-8 of the value."""


@inline
def polynomial(x, c):
    """c[0] + c[1] x + ... + c[5] x**5"""
    y = fma(x, c[5], c[4])
    y = fma(y, x, c[3])
    y = fma(y, x, c[2])
    y = fma(y, x, c[1])
    return fma(y, x, c[0])


@inline
def verf(x):
    """The error function; beyond 4 it is that of 4, which is 1 but for 2e-8."""
    x = vmin(vmax(x, -4.0), 4.0)
    square = x * x
    return x * polynomial(square, ERF_ABOVE) / polynomial(square, ERF_BELOW)


@inline
def vtanh(x):
    """1 - 2 / (e**2x + 1)"""
    return 1.0 - 2.0 / (vexp(x + x) + 1.0)


@inline
def sigmoid(x):
    """1 / (1 + e**-x)"""
    return 1.0 / (1.0 + vexp(0.0 - x)) + x * 0.0


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
def gelu_erf(x):
    """x times the standard normal distribution function."""
    half = 0.5 * vmax(x, -8.0)  # what is below vanishes
    return fma(half, verf(0.7071067811865476 * x), half) + x * 0.0


@inline
def relu(x):
    """x where it is above 0, else 0."""
    return vmax(x, 0.0) + x * 0.0


@inline
def relu2(x):
    """The square of relu (So et al. 2021)."""
    y = relu(x)
    return y * y


@inline
def softcap(x, cap):
    """cap * tanh(x / cap)"""
    return cap * vtanh(x / cap) + x * 0.0


@inline
def clamp(x, limit):
    """x, but -limit for what is below it and limit for what is above."""
    return vmin(vmax(x, 0.0 - limit), limit) + x * 0.0


@inline
def decay(x):
    """e**-e**x"""
    return vexp(0.0 - vexp(x)) + x * 0.0


@inline
def sigmoid_decay(x, rate):
    """e**(-rate * sigmoid(x))"""
    return vexp(0.0 - rate * sigmoid(x)) + x * 0.0


@inline
def linear(x):
    """x"""
    return x


ACTIVATIONS = {
    "linear": linear,
    "silu": silu,
    "gelu": gelu,
    "gelu_erf": gelu_erf,
    "relu": relu,
    "relu2": relu2,
    "sigmoid": sigmoid,
    "decay": decay,
}
