"""One NumPy function per op, in float64: the meaning of the graph, written to be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.graph import ir
from qrt.graph.batch import PAGE_LEN, Batch

Array = NDArray[np.float64]


def as_given(rows: Array) -> Array:
    """What a cache of floats keeps of rows, but for its type."""
    return rows


@dataclass(frozen=True, slots=True)
class Pages:
    """KV storage of one layer, in the type of the cache."""

    k: NDArray[Any]  # (n_pages, PAGE_LEN, n_kv_heads, head_dim)
    v: NDArray[Any]  # (n_pages, PAGE_LEN, n_kv_heads, head_dim)
    k_rounded: Callable[[Array], Array]  # what the cache makes of rows (n_kv_heads, head_dim)
    v_rounded: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Step:
    """Everything an op may look at."""

    batch: Batch
    weights: Mapping[str, Array]
    pages: Mapping[int, Pages]  # by layer
    values: dict[str, Array]  # made so far in this step, each (n_tokens, width)


def embed(step: Step, op: ir.Embed) -> Array:
    """Rows of the table."""
    table: Array = step.weights[op.table]
    return table[step.batch.tokens] * op.scale


def norm(step: Step, op: ir.Norm) -> Array:
    """RMSNorm (Zhang and Sennrich 2019) or LayerNorm (Ba et al. 2016)."""
    x = step.values[op.x]
    groups = x.reshape(len(x), x.shape[1] // op.group, op.group)  # (n_tokens, n_groups, group)
    if op.kind == "layer":
        groups = groups - groups.mean(axis=-1, keepdims=True)
    scale: Array = 1.0 / np.sqrt((groups**2).mean(axis=-1, keepdims=True) + op.eps)
    out: Array = groups * scale * step.weights[op.weight]
    if op.bias is not None:
        out = out + step.weights[op.bias]
    return out.reshape(x.shape)


def linear(step: Step, op: ir.Linear) -> Array:
    """Matrix product and bias."""
    out = step.values[op.x] @ step.weights[op.weight].T
    return out if op.bias is None else out + step.weights[op.bias]


def rope(step: Step, op: ir.Rope) -> Array:
    """Each pair of a head as a complex number, turned by the angle of its row's position."""
    spec, x = op.spec, step.values[op.x]
    heads = x.reshape(
        len(x), x.shape[1] // op.head_dim, op.head_dim
    ).copy()  # (n_tokens, n_heads, head_dim)
    if spec.style == "norm":
        first, second = slice(0, spec.dim, 2), slice(1, spec.dim, 2)
    else:
        first, second = slice(0, spec.dim // 2), slice(spec.dim // 2, spec.dim)
    angle = step.batch.positions[:, None, None] * np.array(spec.inv_freq)  # (n_tokens, 1, dim / 2)
    turned = (heads[..., first] + 1j * heads[..., second]) * spec.mscale * np.exp(1j * angle)
    heads[..., first], heads[..., second] = turned.real, turned.imag
    return heads.reshape(x.shape)


def attention(step: Step, op: ir.Attention) -> Array:
    """Stores keys and values of all rows, then lets each row attend to itself and what precedes."""
    batch, pages = step.batch, step.pages[op.layer]
    n_tokens = len(batch.tokens)
    n_groups = op.n_heads // op.n_kv_heads  # query heads of a kv head
    q = step.values[op.q].reshape(n_tokens, op.n_kv_heads, n_groups, op.head_dim)
    page, slot = np.divmod(batch.positions, PAGE_LEN)
    for t in range(n_tokens):
        where = batch.page_tables[batch.table_of[t]][page[t]], slot[t]
        pages.k[where] = pages.k_rounded(step.values[op.k][t].reshape(op.n_kv_heads, op.head_dim))
        pages.v[where] = pages.v_rounded(step.values[op.v][t].reshape(op.n_kv_heads, op.head_dim))

    out = np.empty_like(q)
    for t in range(n_tokens):
        last = int(batch.positions[t])
        first = 0 if op.window is None else max(0, last - op.window + 1)
        seen_page, seen_slot = np.divmod(np.arange(first, last + 1), PAGE_LEN)
        table = batch.page_tables[batch.table_of[t]]
        k = pages.k[table[seen_page], seen_slot].astype(
            np.float64
        )  # (n_seen, n_kv_heads, head_dim)
        v = pages.v[table[seen_page], seen_slot].astype(np.float64)
        score = np.einsum("kgd,skd->kgs", q[t], k) * op.scale
        if op.softcap is not None:
            score = op.softcap * np.tanh(score / op.softcap)
        weight = np.exp(score - score.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        out[t] = np.einsum("kgs,skd->kgd", weight, v)
    return out.reshape(n_tokens, op.n_heads * op.head_dim)


def glu(step: Step, op: ir.Glu) -> Array:
    """Gated activation (Shazeer 2020)."""
    return ACTIVATIONS[op.act](step.values[op.gate]) * step.values[op.up]


def silu(x: Array) -> Array:
    """x * sigmoid(x), written with tanh so that nothing overflows"""
    return x * 0.5 * (1.0 + np.tanh(0.5 * x))


def gelu(x: Array) -> Array:
    """The tanh form of GELU (Hendrycks and Gimpel 2016)"""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def add(step: Step, op: ir.Add) -> Array:
    """Sum."""
    return step.values[op.a] + step.values[op.b]


def select(step: Step, op: ir.Select) -> Array:
    """Rows whose logits were asked for."""
    out: Array = step.values[op.x][step.batch.logit_rows]
    return out


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"silu": silu, "gelu": gelu}

OPS: dict[type[ir.Op], Callable[[Step, Any], Array]] = {
    ir.Embed: embed,
    ir.Norm: norm,
    ir.Linear: linear,
    ir.Rope: rope,
    ir.Attention: attention,
    ir.Glu: glu,
    ir.Add: add,
    ir.Select: select,
}
