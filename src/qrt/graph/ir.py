"""The graph: a model as a flat list of named ops on rows, with no loop over tokens and no kernel.

A value is a name that stands for an array (n_tokens, width) float32. A weight is the name of a
tensor in the file. Weights are (out, in): `y[t, o] = sum_i x[t, i] * w[o, i]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class RopeSpec:
    """Rotary embedding (Su et al. 2021), all scaling folded into `inv_freq`.

    Pair i of a head is turned by `position * inv_freq[i]`; cos and sin are multiplied by `mscale`
    (YaRN's attention factor). `norm` pairs (2i, 2i+1); `neox` pairs (i, i + dim/2). Dimensions from
    `dim` on are left as they are.
    """

    style: Literal["norm", "neox"]
    dim: int
    inv_freq: tuple[float, ...]  # (dim / 2,)
    mscale: float = 1.0


@dataclass(frozen=True, slots=True)
class Embed:
    """out[t] = table[token[t]] * scale"""

    out: str
    table: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Norm:
    """RMSNorm or LayerNorm over each run of `group` values (the whole row, or one head)."""

    out: str
    x: str
    weight: str
    group: int
    eps: float
    kind: Literal["rms", "layer"] = "rms"
    bias: str | None = None


@dataclass(frozen=True, slots=True)
class Linear:
    """out = x @ weight.T + bias"""

    out: str
    x: str
    weight: str
    bias: str | None = None


@dataclass(frozen=True, slots=True)
class Rope:
    """Turns every head of x, (n_tokens, n_heads * head_dim), by the row's position."""

    out: str
    x: str
    head_dim: int
    spec: RopeSpec


@dataclass(frozen=True, slots=True)
class Attention:
    """Stores k and v at each row's position in `layer`'s cache, then attends causally.

    score = q . k * scale; with `softcap` c: c * tanh(score / c); with `window` w, position p sees
    positions p - w + 1 .. p. q is (n_tokens, n_heads * head_dim), k and v (n_tokens, n_kv_heads *
    head_dim); query head h reads kv head h // (n_heads / n_kv_heads).
    """

    out: str
    q: str
    k: str
    v: str
    layer: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True, slots=True)
class Glu:
    """out = act(gate) * up; gelu is the tanh form"""

    out: str
    gate: str
    up: str
    act: Literal["silu", "gelu"] = "silu"


@dataclass(frozen=True, slots=True)
class Add:
    """out = a + b"""

    out: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Select:
    """out = the rows of x whose logits were asked for: (n_logits, width)"""

    out: str
    x: str


Op = Embed | Norm | Linear | Rope | Attention | Glu | Add | Select


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole model. `weights` maps each tensor name to the shape it must have."""

    arch: str
    ops: tuple[Op, ...]
    output: str
    weights: dict[str, tuple[int, ...]]
    widths: dict[str, int]  # value name -> row width
    n_vocab: int
    n_ctx_train: int
    n_layers: int
    dim: int
    unused: frozenset[str] = field(default_factory=frozenset)  # file tensors folded in elsewhere
