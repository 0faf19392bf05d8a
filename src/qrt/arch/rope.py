"""Rotary frequencies: linear, YaRN and per-frequency scaling folded into one RopeSpec."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qrt.arch.source import Source
from qrt.graph.ops.rope import RopeSpec

SCALINGS = ("none", "linear", "yarn")
LONGROPE = {"short": "rope_factors_short.weight", "long": "rope_factors_long.weight"}
"""The tensors of LongRoPE (Ding et al. 2024), for contexts up to the original one and beyond it."""


def read_rope(
    source: Source,
    style: Literal["norm", "neox"],
    head_dim: int,
    n_ctx_train: int,
    factors: str | None = None,
    yarn_keys: Collection[str] = (),
    *,
    dim: int | None = None,
    base: float | None = None,
    scaled: bool = True,
) -> RopeSpec:
    """Reads the `rope.*` keys, and the divisors in the tensor `factors` (rope_dim / 2,).

    `yarn_keys` names the `rope.scaling.yarn_*` keys that the architecture heeds ("ext_factor",
    "attn_factor", "beta_fast", "beta_slow", "log_multiplier"); like llama.cpp, qrt passes over the
    others. Keys, defaults and arithmetic are those of the GGUF convention. `dim` and `base` may be
    given; without `scaled` nothing but them counts. Raises ArchError.
    """
    dim = dim or source.count("rope.dimension_count", head_dim)
    if dim % 2 or dim > head_dim:
        key = source.key("rope.dimension_count")
        raise source.wrong(key, f"an even number up to the head size, {head_dim}", dim)
    theta = base or source.real("rope.freq_base", 10000.0)
    inv_freq = theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)  # (dim / 2,)
    if not scaled:
        return RopeSpec(style, dim, tuple(inv_freq.tolist()))
    if factors is not None:
        inv_freq /= _read_factors(source, factors, dim // 2)

    scalings = (*SCALINGS, "longrope") if factors in LONGROPE.values() else SCALINGS
    scaling, factor = read_stretch(source, scalings)

    def yarn(name: str, default: float) -> float:
        return source.real(f"rope.scaling.yarn_{name}", default) if name in yarn_keys else default

    mix = yarn("ext_factor", -1.0)
    if mix < 0:
        mix = 1.0 if scaling == "yarn" else 0.0
    kept = mix * yarn_kept(
        dim,
        theta,
        source.count("rope.scaling.original_context_length", n_ctx_train),
        yarn("beta_fast", 32.0),
        yarn("beta_slow", 1.0),
    )
    inv_freq *= kept + (1.0 - kept) / factor

    if mix == 0.0:
        mscale = yarn("attn_factor", 1.0)
    else:
        mscale = yarn_mscale(factor, 1.0)
        mscale /= yarn_mscale(factor, yarn("log_multiplier", 0.0))
    mscale *= source.real("rope.scaling.attn_factor", 1.0)
    return RopeSpec(style, dim, tuple(inv_freq.tolist()), mscale)


def read_stretch(source: Source, scalings: tuple[str, ...] = SCALINGS) -> tuple[str, float]:
    """The kind of scaling, and how much longer the context is than in training."""
    scaling = source.choice("rope.scaling.type", scalings, "linear")
    factor = source.real("rope.scale_linear", 1.0, zero=1.0)
    factor = source.real("rope.scaling.factor", factor, zero=1.0)
    return scaling, 1.0 if scaling == "none" else factor


def factors_tensor(
    source: Source, name: str | None, longrope: bool, n_ctx_train: int
) -> str | None:
    """The tensor that divides the rotary frequencies: `name`, or one of LONGROPE if allowed."""
    if name in source.tensors:
        return name
    if longrope and any(tensor in source.tensors for tensor in LONGROPE.values()):
        original = source.count("rope.scaling.original_context_length", n_ctx_train)
        n_ctx = min(source.n_ctx or n_ctx_train, n_ctx_train)
        return LONGROPE["long" if n_ctx > original else "short"]
    return None


def yarn_kept(
    dim: int, theta: float, n_ctx: int, beta_fast: float, beta_slow: float
) -> NDArray[np.float64]:
    """How much of each frequency YaRN (Peng et al. 2023) leaves unscaled, (dim / 2,) from 1 to 0.

    Pairs that turn more than `beta_fast` times within `n_ctx` positions stay as they are, those
    that turn less than `beta_slow` times are interpolated, with a linear ramp between.
    """

    def pair_turning(turns: float) -> float:
        return dim * math.log(n_ctx / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = max(0, math.floor(pair_turning(beta_fast)))
    high = min(dim - 1, math.ceil(pair_turning(beta_slow)))
    ramp = (np.arange(dim // 2, dtype=np.float64) - low) / max(0.001, high - low)
    return 1.0 - np.clip(ramp, 0.0, 1.0)


def yarn_mscale(factor: float, multiplier: float) -> float:
    """YaRN's attention factor for a context stretched by `factor`."""
    return 1.0 if factor <= 1.0 else 1.0 + 0.1 * multiplier * math.log(factor)


def _read_factors(source: Source, name: str, length: int) -> NDArray[np.float64]:
    factors = source.vector(name, length)
    wrong = ~np.isfinite(factors) | (abs(factors) < 1e-6)
    if np.any(wrong):
        expected = "finite factors that are not within 0.000001 of 0"
        raise source.wrong(f"tensor {name!r}", expected, float(factors[wrong][0]))
    return factors
