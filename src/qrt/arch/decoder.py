"""The decoder that most architectures are a variant of: each step is a method, to be overridden."""

from __future__ import annotations

from typing import ClassVar, Literal

from qrt.arch.hparams import read_hparams
from qrt.arch.rope import read_rope
from qrt.arch.source import Source
from qrt.graph.builder import GraphBuilder
from qrt.graph.ir import Graph, RopeSpec


class Decoder:
    """RMSNorm, rotary grouped-query attention, RMSNorm, SwiGLU; residuals around both.

    A subclass states how its architecture differs. A value has the name of the weight that makes
    it (`blk.0.attn_q` comes from `blk.0.attn_q.weight`), or a name of its own beside it.
    """

    rope_style: ClassVar[Literal["norm", "neox"]] = "neox"
    rope_factors: ClassVar[str | None] = None
    """Tensor of divisors of the rotary frequencies, for files that have it."""
    required_biases: ClassVar[tuple[str, ...]] = ()
    """Linear layers that have a bias, without `blk.N.`"""
    optional_biases: ClassVar[tuple[str, ...]] = ()
    """Linear layers that may have a bias; if one block has it, all must."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Tensors that a file may hold and that logits do not need."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.hp = read_hparams(source)
        if n_experts := source.count("expert_count", 0):
            expected = f"0, since {source.arch} models with experts are not supported"
            raise source.wrong(source.key("expert_count"), expected, n_experts)
        self.rope = self.rope_spec()
        self.graph = GraphBuilder()

    def build(self) -> Graph:
        """The graph of the whole model, its tensors not yet checked."""
        hp = self.hp
        x = self.graph.embed("token_embd", "token_embd.weight", hp.n_vocab, hp.dim)
        for layer in range(hp.n_layers):
            x = self.block(layer, x)
        x = self.graph.select("selected", x)
        self.head(x)
        return self.graph.build(
            self.source.arch,
            n_ctx_train=hp.n_ctx_train,
            n_layers=hp.n_layers,
            dim=hp.dim,
            unused=self.source.tensors.keys() & (self.ignored | {self.rope_factors}),
        )

    def block(self, layer: int, x: str) -> str:
        """One layer, from residual stream to residual stream."""
        at = f"blk.{layer}."
        h = self.norm(f"{at}attn_norm", x)
        h = self.attention(layer, at, h)
        x = self.graph.add(f"{at}attn_add", x, h)
        h = self.norm(f"{at}ffn_norm", x)
        h = self.feed_forward(at, h)
        return self.graph.add(f"{at}ffn_add", x, h)

    def attention(self, layer: int, at: str, x: str) -> str:
        """Queries, keys and values of x, attention, output projection."""
        hp, graph = self.hp, self.graph
        q, k, v = self.qkv(at, x)
        q = graph.rope(f"{at}attn_q_rope", q, hp.head_dim, self.rope)
        k = graph.rope(f"{at}attn_k_rope", k, hp.head_dim, self.rope)
        scale = hp.head_dim**-0.5
        h = graph.attention(f"{at}attn", q, k, v, layer=layer, head_dim=hp.head_dim, scale=scale)
        return self.linear(f"{at}attn_output", h, hp.dim)

    def qkv(self, at: str, x: str) -> tuple[str, str, str]:
        """Query (n_heads * head_dim), key and value (n_kv_heads * head_dim), before rope."""
        hp = self.hp
        q = self.linear(f"{at}attn_q", x, hp.n_heads * hp.head_dim)
        k = self.linear(f"{at}attn_k", x, hp.n_kv_heads * hp.head_dim)
        v = self.linear(f"{at}attn_v", x, hp.n_kv_heads * hp.head_dim)
        return q, k, v

    def feed_forward(self, at: str, x: str) -> str:
        """Gated feed-forward network."""
        gate = self.linear(f"{at}ffn_gate", x, self.hp.ffn_dim)
        up = self.linear(f"{at}ffn_up", x, self.hp.ffn_dim)
        h = self.graph.glu(f"{at}ffn_glu", gate, up)
        return self.linear(f"{at}ffn_down", h, self.hp.dim)

    def head(self, x: str) -> str:
        """Final norm and logits; without `output.weight` the embedding serves as output."""
        x = self.norm("output_norm", x)
        tied = "output.weight" not in self.source.tensors
        return self.linear("output", x, self.hp.n_vocab, "token_embd" if tied else None)

    def rope_spec(self) -> RopeSpec:
        """The rotary embedding of every layer."""
        hp, factors = self.hp, self.rope_factors
        if factors not in self.source.tensors:
            factors = None
        return read_rope(self.source, self.rope_style, hp.head_dim, hp.n_ctx_train, factors)

    def norm(self, name: str, x: str, group: int | None = None) -> str:
        """RMSNorm by the weight `name`."""
        return self.graph.norm(name, x, f"{name}.weight", self.hp.eps, group=group)

    def linear(self, name: str, x: str, width: int, weight: str | None = None) -> str:
        """Linear layer `name`, with its bias where the architecture and the file have one."""
        stem = name.split(".", 2)[-1]
        has_bias = stem in self.required_biases or (
            stem in self.optional_biases and f"{stem}.bias" in self.source.stems
        )
        return self.graph.linear(
            name, x, f"{weight or name}.weight", width, f"{name}.bias" if has_bias else None
        )
