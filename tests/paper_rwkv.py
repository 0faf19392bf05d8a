"""RWKV-6 and RWKV-7 in NumPy and float64, a token at a time, as their papers write them.

Peng et al. 2024 (Eagle and Finch) and Peng et al. 2025 (Goose), and Qwen2 with their time mixing
(Yueyu et al. 2025; QRWKV6, Recursal 2024); weights have the names of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
HEAD_EPS = 64e-5


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def normed(x: Array, eps: float) -> Array:
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)


class Paper:
    """What both generations have in common; `weights` by their names."""

    second_norm = "attn_norm_2"

    def __init__(self, weights: Mapping[str, Array], head_dim: int, eps: float, period: int = 0):
        self.weights = weights
        self.head_dim = head_dim
        self.eps = eps
        self.period = period
        self.n_layers = 1 + max(int(n.split(".")[1]) for n in weights if n.startswith("blk."))
        self.first_value: Array | None = None

    def logits(self, tokens: Sequence[int], mix: Callable[..., Array], gated: bool) -> Array:
        """(n_tokens, n_vocab); `mix` is the time mixing of a generation."""
        w, found = self.weights, []
        dim = w["token_embd.weight"].shape[1]
        heads = (dim // self.head_dim, self.head_dim, self.head_dim)
        states = [np.zeros(heads) for _ in range(self.n_layers)]
        tails = [[np.zeros(dim), np.zeros(dim)] for _ in range(self.n_layers)]
        for token in tokens:
            x = self.embedded(w["token_embd.weight"][token])
            for i in range(self.n_layers):
                at = f"blk.{i}."
                h = self.layer_norm(f"{at}attn_norm", x)
                x = x + mix(self, at, h, tails[i][0], states[i])
                tails[i][0] = h
                h = self.layer_norm(f"{at}{self.second_norm}", x)
                x = x + self.channels(at, h, tails[i][1], gated)
                tails[i][1] = h
                if self.period and (i + 1) % self.period == 0:
                    x = x / 2
            found.append(w["output.weight"] @ self.layer_norm("output_norm", x))
        return np.array(found)

    def embedded(self, x: Array) -> Array:
        return self.layer_norm("token_embd_norm", x)

    def layer_norm(self, name: str, x: Array) -> Array:
        return normed(x, self.eps) * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def channels(self, at: str, x: Array, before: Array, gated: bool) -> Array:
        w = self.weights
        k = x + (before - x) * w[f"{at}channel_mix_lerp_k.weight"]
        k = np.maximum(w[f"{at}channel_mix_key.weight"] @ k, 0.0) ** 2
        h = w[f"{at}channel_mix_value.weight"] @ k
        if gated:
            r = x + (before - x) * w[f"{at}channel_mix_lerp_r.weight"]
            h = sigmoid(w[f"{at}channel_mix_receptance.weight"] @ r) * h
        return h

    def named(self, prefix: str) -> dict[str, Array]:
        """The weights whose names begin so, by what follows."""
        found = (name for name in self.weights if name.startswith(prefix))
        return {name.removeprefix(prefix): self.weights[name] for name in found}

    def heads(self, x: Array) -> Array:
        return x.reshape(-1, self.head_dim)

    def normed_heads(self, at: str, x: Array) -> Array:
        flat = normed(x, HEAD_EPS).reshape(-1)
        w = self.weights
        return flat * w[f"{at}time_mix_ln.weight"] + w[f"{at}time_mix_ln.bias"]


class Qwen(Paper):
    """Qwen2, whose attention gave way to a time mixing; files say whether heads have norms."""

    second_norm = "ffn_norm"

    def embedded(self, x: Array) -> Array:
        return x

    def layer_norm(self, name: str, x: Array) -> Array:
        x = x / np.sqrt((x**2).mean() + self.eps) * self.weights[f"{name}.weight"]
        return x + self.weights.get(f"{name}.bias", 0.0)

    def channels(self, at: str, x: Array, before: Array, gated: bool) -> Array:  # noqa: ARG002
        gate, up = (self.weights[f"{at}ffn_{name}.weight"] @ x for name in ("gate", "up"))
        return self.weights[f"{at}ffn_down.weight"] @ (gate * sigmoid(gate) * up)

    def normed_heads(self, at: str, x: Array) -> Array:
        has_norm = f"{at}time_mix_ln.weight" in self.weights
        return super().normed_heads(at, x) if has_norm else x.reshape(-1)


def finch(self: Paper, at: str, x: Array, before: Array, state: Array) -> Array:
    """RWKV-6: token shift and decay that depend on the data, section 4 of the paper."""
    w = self.named(f"{at}time_mix_")
    base = x + (before - x) * w["lerp_x.weight"]
    ranks = np.tanh(w["w1.weight"] @ base).reshape(5, -1)
    mixed = []
    for i, letter in enumerate("wkvrg"):
        if "lerp_fused.weight" in w:
            fixed = w["lerp_fused.weight"].reshape(5, -1)[i]
        else:
            fixed = w[f"lerp_{letter}.weight"]
        mixed.append(x + (before - x) * (fixed + w["w2.weight"][i] @ ranks[i]))
    ranks = np.tanh(w["decay_w1.weight"] @ mixed[0])
    decay = w["decay.weight"] + w["decay_w2.weight"] @ ranks
    decay = self.heads(np.exp(-np.exp(decay)))
    k, v, r = (
        self.heads(w[f"{name}.weight"] @ part + w.get(f"{name}.bias", 0.0))
        for name, part in zip(("key", "value", "receptance"), mixed[1:4], strict=True)
    )
    g = w["gate.weight"] @ mixed[4]
    out = np.zeros_like(r)
    if isinstance(self, Qwen):  # keys of few heads, no bonus: gated linear attention
        k, v = (part.repeat(len(r) // len(part), axis=0) for part in (k, v))
        for h in range(len(r)):
            now = np.outer(k[h] * (1.0 - decay[h]), v[h])
            state[h] = np.diag(decay[h]) @ state[h] + now
            out[h] = r[h] @ state[h] / np.sqrt(self.head_dim)
        return w["output.weight"] @ (sigmoid(g) * out.reshape(-1))
    for h in range(len(r)):
        now = np.outer(k[h], v[h])
        out[h] = r[h] @ (np.diag(w["first.weight"][h]) @ now + state[h])
        state[h] = np.diag(decay[h]) @ state[h] + now
    return w["output.weight"] @ (g * sigmoid(g) * self.normed_heads(at, out))


def goose(self: Paper, at: str, x: Array, before: Array, state: Array) -> Array:
    """RWKV-7: S (values, keys) becomes S (diag(w) - u^T (a * u)) + v^T k, section 4."""
    w = self.named(f"{at}time_mix_")
    fixed = w["lerp_fused.weight"].reshape(-1, len(x))
    xr, xw, xk, xv, xa, *rest = (x + (before - x) * part for part in fixed)
    r, k, v = (
        w[f"{name}.weight"] @ part
        for name, part in (("receptance", xr), ("key", xk), ("value", xv))
    )
    decay = w["w0.weight"] + w["w2.weight"] @ np.tanh(w["w1.weight"] @ xw)
    decay = np.exp(-np.exp(-0.5) * sigmoid(decay))
    rate = sigmoid(w["a0.weight"] + w["a2.weight"] @ (w["a1.weight"] @ xa))
    if at == "blk.0.":
        self.first_value = v
    else:
        share = sigmoid(w["v0.weight"] + w["v2.weight"] @ (w["v1.weight"] @ xv))
        v = v + (self.first_value - v) * share
    gate = np.ones(len(x))
    for xg in rest:  # none without a gate
        gate = w["g2.weight"] @ sigmoid(w["g1.weight"] @ xg)
    removed = self.heads(k * w["k_k.weight"])
    removed = removed / np.linalg.norm(removed, axis=1, keepdims=True)
    k = k * (1.0 + (rate - 1.0) * w["k_a.weight"])
    r, k, v, decay, rate = map(self.heads, (r, k, v, decay, rate))
    out = np.zeros_like(r)
    for h in range(len(r)):
        change = np.diag(decay[h]) - np.outer(removed[h], rate[h] * removed[h])
        state[h] = state[h] @ change + np.outer(v[h], k[h])
        out[h] = state[h] @ r[h]
    bonus = (r * k * self.heads(w["r_k.weight"])).sum(axis=1, keepdims=True) * v
    return w["output.weight"] @ (gate * (self.normed_heads(at, out) + bonus.reshape(-1)))


def rwkv(metadata: Mapping[str, object], tensors: Mapping[str, Array], tokens: Array) -> Array:
    """Logits as `in_numpy.IN_NUMPY` has them, float32."""
    arch = str(metadata["general.architecture"])
    weights = {name: value.astype(np.float64) for name, value in tensors.items()}
    sizes = metadata[f"{arch}.wkv.head_size"], 1e-5, metadata.get(f"{arch}.{PERIOD}", 0)
    paper = (Qwen if arch in ("rwkv6qwen2", "arwkv7") else Paper)(weights, *sizes)
    is_6 = arch.startswith("rwkv6")
    return paper.logits(tokens, finch if is_6 else goose, is_6).astype(np.float32)


PERIOD = "rescale_every_n_layers"
PAPER_RWKV = dict.fromkeys(
    ("rwkv6", "rwkv6@parts", "rwkv6qwen2", "rwkv7", "arwkv7", "arwkv7@plain"), rwkv
)
