"""Encoders in NumPy and float64 as their papers and code define them; weights as files name them.

Guenther et al. 2023 (jina-embeddings-v2), Nussbaum and Duderstadt 2025 (nomic-embed-text 2),
Le Breton et al. 2025 (NeoBERT), Babakhin et al. 2025 (Llama-Embed-Nemotron).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Score = Callable[[Array, Array], Array]
"""Scores (n_heads, n, n) of queries and keys (n, n_heads, width)."""
EPS = 1e-5

gelu = np.vectorize(lambda x: x * 0.5 * (1.0 + math.erf(x / math.sqrt(2.0))), otypes=[np.float64])


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def rms_norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPS) * weight


@dataclass(frozen=True)
class File:
    """The keys of a file without the architecture's name, and its tensors in float64."""

    keys: Mapping[str, object]
    weights: Mapping[str, Array]

    def linear(self, name: str, x: Array) -> Array:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights.get(f"{name}.bias", 0.0)

    def layer_norm(self, name: str, x: Array) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPS)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.weights

    def embedded(self, tokens: Array) -> Array:
        """BERT's: all tokens are of the first type."""
        w = self.weights
        x = w["token_embd.weight"][tokens] + w["token_types.weight"][0]
        return self.layer_norm("token_embd_norm", x)

    def attention(self, at: str, x: Array, q: Array, k: Array, v: Array, score: Score) -> Array:
        """Every row sees all rows; q (n, n_heads * width), k and v of as many heads or fewer."""
        n, n_heads = len(x), self.keys["attention.head_count"]
        q = q.reshape(n, n_heads, -1)
        k, v = (y.reshape(n, -1, q.shape[-1]) for y in (k, v))
        k, v = (y.repeat(n_heads // y.shape[1], axis=1) for y in (k, v))
        share = softmax(score(q, k))
        rows = np.einsum("hts,shd->thd", share, v).reshape(n, -1)
        return self.linear(f"{at}attn_output", rows)

    def projected(self, at: str, x: Array) -> list[Array]:
        """Queries, keys and values."""
        if self.has(f"{at}attn_qkv"):
            return np.split(self.linear(f"{at}attn_qkv", x), 3, axis=1)
        return [self.linear(f"{at}attn_{letter}", x) for letter in "qkv"]

    def rotated(self, x: Array, *, adjacent: bool) -> Array:
        """Rotary embedding of (n, n_heads, width); pairs are adjacent values, or of the halves."""
        half = x.shape[-1] // 2
        angle = np.arange(len(x))[:, None] * self.keys["rope.freq_base"] ** (
            -np.arange(half) / half
        )
        turn = np.exp(1j * angle)[:, None]
        if adjacent:
            y = (x[..., ::2] + 1j * x[..., 1::2]) * turn
            return np.stack([y.real, y.imag], axis=-1).reshape(x.shape)
        y = (x[..., :half] + 1j * x[..., half:]) * turn
        return np.concatenate([y.real, y.imag], axis=-1)

    def rotary(self, *, adjacent: bool) -> Score:
        def score(q: Array, k: Array) -> Array:
            q, k = (self.rotated(y, adjacent=adjacent) for y in (q, k))
            return np.einsum("thd,shd->hts", q, k) / math.sqrt(q.shape[-1])

        return score

    @property
    def layers(self) -> list[str]:
        return [f"blk.{i}." for i in range(self.keys["block_count"])]


def jina_v2(file: File, tokens: Array) -> Array:
    """BERT with linear biases to both sides; the code model's norms where the file has them."""
    distance = np.abs(np.subtract.outer(np.arange(len(tokens)), np.arange(len(tokens))))
    n_heads = file.keys["attention.head_count"]
    slopes = 2.0 ** (-8.0 * np.arange(1, n_heads + 1) / n_heads)  # of a power of two heads

    def score(q: Array, k: Array) -> Array:
        exact = np.einsum("thd,shd->hts", q, k) / math.sqrt(q.shape[-1])
        return exact - slopes[:, None, None] * distance

    x = file.embedded(tokens)
    for at in file.layers:
        q, k, v = file.projected(at, x)
        if file.has(f"{at}attn_q_norm"):
            q, k = file.layer_norm(f"{at}attn_q_norm", q), file.layer_norm(f"{at}attn_k_norm", k)
        h = file.layer_norm(f"{at}attn_output_norm", x + file.attention(at, x, q, k, v, score))
        if file.has(f"{at}attn_norm_2"):
            h = file.layer_norm(f"{at}attn_norm_2", h + x)
        up = file.linear(f"{at}ffn_up", h)
        if file.has(f"{at}ffn_gate"):
            up = gelu(file.linear(f"{at}ffn_gate", h)) * up
        elif up.shape[1] != file.keys["feed_forward_length"]:
            gate, up = np.split(up, 2, axis=1)
            up = gelu(gate) * up
        else:
            up = gelu(up)
        x = file.layer_norm(f"{at}layer_output_norm", h + file.linear(f"{at}ffn_down", up))
    return x


def nomic_moe(file: File, tokens: Array) -> Array:
    """XLM-RoBERTa with rotary embedding; every n-th layer's network is the best of many, each by
    its share of all.
    """
    x, score = file.embedded(tokens), file.rotary(adjacent=False)
    for i, at in enumerate(file.layers):
        h = x + file.attention(at, x, *file.projected(at, x), score)
        h = file.layer_norm(f"{at}attn_output_norm", h)
        if i % file.keys["moe_every_n_layers"] == 1:
            more = np.zeros_like(h)
            shares = softmax(file.linear(f"{at}ffn_gate_inp", h))
            up, down = (file.weights[f"{at}ffn_{name}_exps.weight"] for name in ("up", "down"))
            for row, share in enumerate(shares):
                for j in np.argsort(-share)[: file.keys["expert_used_count"]]:
                    more[row] += share[j] * (down[j] @ gelu(up[j] @ h[row]))
        else:
            more = file.linear(f"{at}ffn_down", gelu(file.linear(f"{at}ffn_up", h)))
        x = file.layer_norm(f"{at}layer_output_norm", h + more)
    return x


def neo_bert(file: File, tokens: Array) -> Array:
    """Norms before, SwiGLU of one matrix; q, k and v of all heads one behind the other."""
    return before_norms(file, tokens, "enc.output_norm")


def llama_embed(file: File, tokens: Array) -> Array:
    """Llama without the mask."""
    return before_norms(file, tokens, "output_norm")


def before_norms(file: File, tokens: Array, last: str) -> Array:
    w, score = file.weights, file.rotary(adjacent=True)
    x = w["token_embd.weight"][tokens]
    for at in file.layers:
        h = rms_norm(x, w[f"{at}attn_norm.weight"])
        x = x + file.attention(at, h, *file.projected(at, h), score)
        h = rms_norm(x, w[f"{at}ffn_norm.weight"])
        up = file.linear(f"{at}ffn_up", h)
        if file.has(f"{at}ffn_gate"):
            gate = file.linear(f"{at}ffn_gate", h)
        else:
            gate, up = np.split(up, 2, axis=1)
        x = x + file.linear(f"{at}ffn_down", silu(gate) * up)
    return rms_norm(x, w[f"{last}.weight"])


def of(model: Callable[[File, Array], Array]) -> Callable[..., Array]:
    """A model as `in_numpy.IN_NUMPY` has it: of metadata, tensors and tokens, float32."""

    def run(metadata: Mapping[str, object], tensors: Mapping[str, Array], tokens: Array) -> Array:
        arch = f"{metadata['general.architecture']}."
        keys = {name.removeprefix(arch): value for name, value in metadata.items()}
        weights = {name: value.astype(np.float64) for name, value in tensors.items()}
        return model(File(keys, weights), tokens).astype(np.float32)

    return run


PAPER_ENCODERS = {
    **dict.fromkeys(("jina-bert-v2", "jina-bert-v2@fused", "jina-bert-v2@gate"), of(jina_v2)),
    "nomic-bert-moe": of(nomic_moe),
    "neo-bert": of(neo_bert),
    "llama-embed": of(llama_embed),
}
