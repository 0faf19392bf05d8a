"""The decoder that most architectures are a variant of: each step is a method, to be overridden."""

from __future__ import annotations

from typing import ClassVar, Literal

from qrt.arch.hparams import Layer, read_hparams
from qrt.arch.rope import read_rope
from qrt.arch.source import Source
from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.select import Select


class Decoder:
    """RMSNorm, rotary grouped-query attention, RMSNorm, SwiGLU; residuals around both.

    A subclass states how its architecture differs. A value has the name of the weight that makes
    it (`blk.0.attn_q` comes from `blk.0.attn_q.weight`), or a name of its own beside it.
    """

    rope_style: ClassVar[Literal["norm", "neox"]] = "neox"
    rope_factors: ClassVar[str | None] = None
    """Tensor of divisors of the rotary frequencies, for files that have it."""
    yarn_keys: ClassVar[tuple[str, ...]] = ()
    """Of `rope.scaling.yarn_*` those that the architecture heeds; others keep their defaults."""
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
        self.ropes = [self.rope_spec(layer) for layer in self.hp.layers]
        self.graph = GraphBuilder()

    def build(self) -> Graph:
        """The graph of the whole model, its tensors not yet checked."""
        hp, graph = self.hp, self.graph
        x = graph.append(Embed("token_embd", "token_embd.weight", hp.n_vocab, hp.dim))
        for layer in hp.layers:
            graph.begin_layer()
            x = self.block(layer, x)
        x = graph.append(Select("selected", x))
        self.head(x)
        return graph.build(
            self.source.arch,
            n_ctx_train=hp.n_ctx_train,
            dim=hp.dim,
            unused=self.source.tensors.keys() & (self.ignored | {self.rope_factors}),
        )

    def block(self, layer: Layer, x: str) -> str:
        """One layer, from residual stream to residual stream."""
        h = self.norm(f"{layer.at}attn_norm", x)
        h = self.attention(layer, h)
        x = self.graph.append(Add(f"{layer.at}attn_add", x, h))
        h = self.norm(f"{layer.at}ffn_norm", x)
        h = self.feed_forward(layer, h)
        return self.graph.append(Add(f"{layer.at}ffn_add", x, h))

    def attention(self, layer: Layer, x: str) -> str:
        """Queries, keys and values of x, attention, output projection."""
        graph, at, head_dim = self.graph, layer.at, layer.head_dim
        q, k, v = self.qkv(layer, x)
        rope = self.ropes[layer.number]
        h = graph.attention(
            f"{at}attn",
            graph.append(Rope(f"{at}attn_q_rope", q, head_dim, rope)),
            graph.append(Rope(f"{at}attn_k_rope", k, head_dim, rope)),
            v,
            layer=layer.number,
            n_heads=layer.n_heads,
            n_kv_heads=layer.n_kv_heads,
            scale=head_dim**-0.5,
            window=layer.window,
        )
        return self.linear(f"{at}attn_output", h, self.hp.dim)

    def qkv(self, layer: Layer, x: str) -> tuple[str, str, str]:
        """Query (n_heads * head_dim), key and value (n_kv_heads * head_dim), before rope."""
        q = self.linear(f"{layer.at}attn_q", x, layer.n_heads * layer.head_dim)
        k = self.linear(f"{layer.at}attn_k", x, layer.n_kv_heads * layer.head_dim)
        v = self.linear(f"{layer.at}attn_v", x, layer.n_kv_heads * layer.head_dim)
        return q, k, v

    def feed_forward(self, layer: Layer, x: str) -> str:
        """Gated feed-forward network."""
        gate = self.linear(f"{layer.at}ffn_gate", x, layer.ffn_dim)
        up = self.linear(f"{layer.at}ffn_up", x, layer.ffn_dim)
        h = self.graph.append(Glu(f"{layer.at}ffn_glu", gate, up))
        return self.linear(f"{layer.at}ffn_down", h, self.hp.dim)

    def head(self, x: str) -> str:
        """Final norm and logits; without `output.weight` the embedding serves as output."""
        x = self.norm("output_norm", x)
        tied = "output.weight" not in self.source.tensors
        return self.linear("output", x, self.hp.n_vocab, "token_embd" if tied else None)

    def rope_spec(self, layer: Layer) -> RopeSpec:
        """The rotary embedding of a layer."""
        factors, n_ctx = self.rope_factors, self.hp.n_ctx_train
        if factors not in self.source.tensors:
            factors = None
        return read_rope(
            self.source, self.rope_style, layer.head_dim, n_ctx, factors, self.yarn_keys
        )

    def norm(self, name: str, x: str, group: int | None = None) -> str:
        """RMSNorm by the weight `name`."""
        group = group or self.graph.widths[x]
        return self.graph.append(Norm(name, x, f"{name}.weight", group, self.hp.eps))

    def linear(self, name: str, x: str, width: int, weight: str | None = None) -> str:
        """Linear layer `name`, with its bias where the architecture and the file have one."""
        stem = name.split(".", 2)[-1]
        has_bias = stem in self.required_biases or (
            stem in self.optional_biases and f"{stem}.bias" in self.source.stems
        )
        bias = f"{name}.bias" if has_bias else None
        return self.graph.append(Linear(name, x, f"{weight or name}.weight", width, bias))
