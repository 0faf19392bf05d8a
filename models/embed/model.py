"""The bert architecture in PyTorch, with the dimensions of the embedding model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

N_HIDDEN = 2


@dataclass(frozen=True)
class Config:
    """Dimensions; multiples of 32 let Q8_0 hold the matrices."""

    n_vocab: int = 8192
    dim: int = 256
    n_layers: int = 1
    n_heads: int = 4
    ffn_dim: int = 512
    n_ctx: int = 256
    norm_eps: float = 1e-12


class Block(nn.Module):
    """One layer: attention among all tokens, then GELU, a LayerNorm behind each sum."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, self.n_heads = config.dim, config.n_heads
        self.attn_q, self.attn_k, self.attn_v = (nn.Linear(dim, dim) for _ in range(3))
        self.attn_output = nn.Linear(dim, dim)
        self.attn_output_norm = nn.LayerNorm(dim, config.norm_eps)
        self.ffn_up = nn.Linear(dim, config.ffn_dim)
        self.ffn_down = nn.Linear(config.ffn_dim, dim)
        self.layer_output_norm = nn.LayerNorm(dim, config.norm_eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (n, n_tokens, dim), mask (n, 1, 1, n_tokens)"""
        n, n_tokens, _ = x.shape
        heads = (n, n_tokens, self.n_heads, -1)
        q, k, v = (
            w(x).view(heads).transpose(1, 2) for w in (self.attn_q, self.attn_k, self.attn_v)
        )
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.attn_output_norm(x + self.attn_output(y.transpose(1, 2).flatten(2)))
        return self.layer_output_norm(x + self.ffn_down(functional.gelu(self.ffn_up(x))))


class Bert(nn.Module):
    """Tokens (n, n_tokens) in, unit vectors (n, dim) out: the mean over the tokens of a text.

    At first the layers add nothing, and the first N_HIDDEN dimensions, which the last norm hides,
    take from a token's vector what its weight in the mean shall lack.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(config.n_vocab, config.dim)
        self.position_embd = nn.Embedding(config.n_ctx, config.dim)
        self.token_types = nn.Embedding(2, config.dim)
        self.token_embd_norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        nn.init.zeros_(self.position_embd.weight)
        nn.init.zeros_(self.token_types.weight)
        for block in self.blk:
            for last in (block.attn_output, block.ffn_down):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        with torch.no_grad():
            self.blk[-1].layer_output_norm.weight[:N_HIDDEN] = 0

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """`kept` (n, n_tokens) is 1 where a token is, 0 where padding is."""
        x = self.token_embd(tokens) + self.position_embd.weight[: tokens.shape[1]]
        x = self.token_embd_norm(x + self.token_types.weight[0])
        mask = torch.zeros(kept.shape).masked_fill(kept == 0, -torch.inf)[:, None, None]
        for block in self.blk:
            x = block(x, mask)
        return functional.normalize((x * kept[..., None]).sum(1), dim=-1)

    def shallow(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """The same while positions and layers add nothing: what is left is a sum of vectors of
        tokens, which are the same everywhere."""
        x = self.token_embd_norm(self.token_embd.weight + self.token_types.weight[0])
        for block in self.blk:
            x = block.layer_output_norm(block.attn_output_norm(x))
        sums = functional.embedding_bag(tokens, x, mode="sum", per_sample_weights=kept)
        return functional.normalize(sums, dim=-1)
