"""The llama architecture in PyTorch, with the dimensions of the embedded model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Config:
    """Dimensions; multiples of 256 let every block format hold the matrices."""

    n_vocab: int = 4096
    dim: int = 512
    n_layers: int = 4
    n_heads: int = 8
    n_kv_heads: int = 2
    head_dim: int = 64
    ffn_dim: int = 1024
    n_ctx: int = 512
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5


class Attention(nn.Module):
    """Causal grouped-query attention with rotated neighbouring pairs (RoPE in the NORM style)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.attn_q = nn.Linear(config.dim, q_dim, bias=False)
        self.attn_k = nn.Linear(config.dim, kv_dim, bias=False)
        self.attn_v = nn.Linear(config.dim, kv_dim, bias=False)
        self.attn_output = nn.Linear(q_dim, config.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, n_tokens, _ = x.shape
        heads = (batch, n_tokens, -1, self.config.head_dim)
        shared = self.config.n_heads // self.config.n_kv_heads
        q = rotate(self.attn_q(x).view(heads), cos, sin).transpose(1, 2)
        k = rotate(self.attn_k(x).view(heads), cos, sin).transpose(1, 2)
        v = self.attn_v(x).view(heads).transpose(1, 2)
        # In plain steps: on one CPU thread PyTorch's fused attention is slower than this.
        scores = q @ k.repeat_interleave(shared, dim=1).transpose(2, 3)
        weights = torch.softmax(scores * self.config.head_dim**-0.5 + mask, dim=-1).to(v.dtype)
        y = weights @ v.repeat_interleave(shared, dim=1)
        return self.attn_output(y.transpose(1, 2).reshape(batch, n_tokens, -1))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (x[2i], x[2i + 1]) of (batch, n_tokens, n_heads, head_dim)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    """One layer: attention and SwiGLU, each behind an RMSNorm and added to the stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.ffn_gate = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.ffn_up = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.ffn_down = nn.Linear(config.ffn_dim, config.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.attn_norm(x), cos, sin, mask)
        y = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Llama(nn.Module):
    """Tokens (batch, n_tokens) in, logits (batch, n_tokens, n_vocab) out; the output is tied."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(config.n_vocab, config.dim)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.output_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        pairs = torch.arange(0, config.head_dim, 2) / config.head_dim
        angles = torch.outer(torch.arange(config.n_ctx), config.rope_theta**-pairs)[:, None]
        self.register_buffer("cos", angles.cos(), persistent=False)  # (n_ctx, 1, head_dim / 2)
        self.register_buffer("sin", angles.sin(), persistent=False)
        mask = torch.full((config.n_ctx, config.n_ctx), -torch.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                shrink = (
                    (2 * config.n_layers) ** -0.5 if "_output" in name or "_down" in name else 1
                )
                nn.init.normal_(weight, std=0.02 * shrink)

    def forward(self, tokens: Tensor) -> Tensor:
        n = tokens.shape[1]
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, self.cos[:n], self.sin[:n], self.mask[:n, :n])
        return functional.linear(self.output_norm(x), self.token_embd.weight)
