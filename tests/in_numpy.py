"""Models that transformers does not run here, in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from paper_encoders import PAPER_ENCODERS
from paper_rwkv import PAPER_RWKV

Array = NDArray[np.floating]
EPS = 1e-5


def normed(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * weight


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


def turned(x: Array, base: float) -> Array:
    """Rotary embedding of (n_rows, n_heads, width), halves paired."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def plamo2(metadata: Mapping[str, object], tensors: Mapping[str, Array], tokens: Array) -> Array:
    """Logits of PLaMo 2 (Preferred Networks 2025), (n_tokens, n_vocab)."""
    keys = {name.removeprefix("plamo2."): value for name, value in metadata.items()}
    weights = {name: value.astype(np.float64) for name, value in tensors.items()}
    width, n = keys["attention.key_length"], keys["ssm.state_size"]
    heads = keys["ssm.time_step_rank"]
    x = weights["token_embd.weight"][tokens]

    def attention(w: dict[str, Array], h: Array, n_q: int, n_kv: int) -> Array:
        whole = (h @ w["attn_qkv.weight"].T).reshape(len(h), -1, width)
        q, k, v = np.split(whole, [n_q, n_q + n_kv], axis=1)
        q = turned(normed(q, w["attn_q_norm.weight"]), keys["rope.freq_base"])
        k = turned(normed(k, w["attn_k_norm.weight"]), keys["rope.freq_base"])
        k, v = (value.repeat(n_q // n_kv, axis=1) for value in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(width)
        scores = np.where(np.tri(len(h), dtype=bool), scores, -np.inf)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        return np.einsum("hts,shd->thd", share, v).reshape(len(h), -1) @ w["attn_output.weight"].T

    def mamba(w: dict[str, Array], h: Array) -> Array:
        both = (h @ w["ssm_in.weight"].T).reshape(len(h), heads, 2, -1)
        z, u = both[:, :, 0], both[:, :, 1].reshape(len(h), -1)
        taps = w["ssm_conv1d.weight"]
        padded = np.pad(u, ((taps.shape[1] - 1, 0), (0, 0)))
        u = silu(sum(padded[j : j + len(u)] * taps[:, j] for j in range(taps.shape[1])))
        b, c, dt = np.split(u @ w["ssm_x.weight"].T, [n, 2 * n], axis=1)
        b, c = normed(b, w["ssm_b_norm"]), normed(c, w["ssm_c_norm"])
        dt = normed(dt, w["ssm_dt_norm"]) @ w["ssm_dt.weight"].T + w["ssm_dt.bias"]
        step, u = np.log1p(np.exp(dt)), u.reshape(z.shape)
        state, y = np.zeros((*u.shape[1:], n)), np.empty(u.shape)
        for t in range(len(u)):
            state *= np.exp(step[t] * w["ssm_a"])[:, None, None]
            state += (step[t][:, None] * u[t])[..., None] * b[t]
            y[t] = state @ c[t] + w["ssm_d"][:, None] * u[t]
        return (y * silu(z)).reshape(len(u), -1) @ w["ssm_out.weight"].T

    for i in range(keys["block_count"]):
        at = f"blk.{i}."
        w = {k.removeprefix(at): value for k, value in weights.items() if k.startswith(at)}
        h, n_kv = normed(x, w["attn_norm.weight"]), keys["attention.head_count_kv"][i]
        n_q = keys["attention.head_count"][i]
        mixed = attention(w, h, n_q, n_kv) if n_kv else mamba(w, h)
        x = x + normed(mixed, w["post_attention_norm"])
        gate, up = np.split(normed(x, w["ffn_norm.weight"]) @ w["ffn_up.weight"].T, 2, axis=1)
        x = x + normed((silu(gate) * up) @ w["ffn_down.weight"].T, w["post_ffw_norm"])
    logits: Array = normed(x, weights["output_norm.weight"]) @ weights["output.weight"].T
    return logits.astype(np.float32)


IN_NUMPY = {"plamo2": plamo2, **PAPER_ENCODERS, **PAPER_RWKV}
