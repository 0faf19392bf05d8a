"""What a file says of multi-head latent attention (DeepSeek-AI 2024): sizes and scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from qrt.arch.hparams import Layer
from qrt.arch.rope import read_stretch, yarn_mscale
from qrt.arch.source import Source
from qrt.graph.ops.rope import RopeSpec


@dataclass(frozen=True, slots=True)
class Latent:
    """Sizes: `rank` values that all heads share at a position, and `rope` more that are turned.

    A query has `nope` values beside those, a head's result `v_dim`. `q_rank` 0: queries are made at
    once. With `absorbed` the cache has the shared values alone; else the keys and values of all
    heads are taken out of them.
    """

    rank: int
    q_rank: int
    nope: int
    rope: int
    v_dim: int
    absorbed: bool
    scale: float
    """Of the scores."""

    @property
    def k_dim(self) -> int:
        return self.nope + self.rope


def first_attending(source: Source, layers: Iterable[Layer]) -> Layer:
    """The first layer that has attention. Raises ArchError where there is none."""
    for layer in layers:
        if layer.kind == "attention":
            return layer
    raise source.wrong(source.key("attention.head_count_kv"), "a layer with heads of keys", 0)


def read_latent(source: Source, layer: Layer, spec: RopeSpec) -> Latent:
    """Reads and checks the keys. `layer` is any, `spec` its rope. Raises ArchError."""
    rank, q_rank = source.count("attention.kv_lora_rank"), source.count("attention.q_lora_rank", 0)
    k_dim = source.count("attention.key_length_mla", 0)
    v_dim = source.count("attention.value_length_mla", 0)
    absorbed = k_dim > 0 and v_dim > 0
    if absorbed:
        _check_cache(source, layer, rank, spec.dim)
    else:
        k_dim, v_dim = layer.head_dim, layer.value_dim
    if k_dim <= spec.dim:
        key = source.key("attention.key_length_mla" if absorbed else "attention.key_length")
        raise source.wrong(key, f"more than the {spec.dim} values that rope turns", k_dim)
    scale = _Stretch(source).of_scores(spec) / math.sqrt(k_dim)
    return Latent(rank, q_rank, k_dim - spec.dim, spec.dim, v_dim, absorbed, scale)


def _check_cache(source: Source, layer: Layer, rank: int, rope: int) -> None:
    """What a file says of its cache follows from the rest. Raises ArchError where it does not."""
    for key, expected, got in (
        ("attention.head_count_kv", 1, layer.n_kv_heads),
        ("attention.key_length", rank + rope, layer.head_dim),
        ("attention.value_length", rank, layer.value_dim),
    ):
        if got != expected:
            raise source.wrong(source.key(key), f"{expected} for latent attention", got)


class _Stretch:
    """How far a file stretches the context it was trained for, and what attention makes of it."""

    def __init__(self, source: Source) -> None:
        scaling, self.factor = read_stretch(source)
        self.is_yarn = scaling == "yarn"
        # files hold a tenth of DeepSeek's mscale_all_dim
        self.multiplier = 10 * source.real("rope.scaling.yarn_log_multiplier", 0.0)

    def of_scores(self, spec: RopeSpec) -> float:
        """What multiplies scores, for q and for k."""
        log = 0.1 * math.log(self.factor)
        mscale = spec.mscale if self.is_yarn else spec.mscale * (1 + log)
        return (mscale * (1 + self.multiplier * log)) ** 2


def read_mscale(source: Source, spec: RopeSpec, cancels: bool) -> RopeSpec:
    """`spec` with the attention factor of files that have a multiplier for YaRN's.

    It is divided by the one that has the multiplier; with `cancels` both have it.
    """
    stretch = _Stretch(source)
    if not stretch.is_yarn or stretch.multiplier == 0.0:
        return spec
    over = yarn_mscale(stretch.factor, stretch.multiplier if cancels else 1.0)
    mscale = over / yarn_mscale(stretch.factor, stretch.multiplier)
    return replace(spec, mscale=spec.mscale / yarn_mscale(stretch.factor, 1.0) * mscale)
