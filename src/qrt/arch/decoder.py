"""The decoder that most architectures are a variant of: each step is a method, to be overridden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from qrt.arch.heads import read_dense, read_pooling, read_ranking
from qrt.arch.hparams import Kind, Layer, read_hparams
from qrt.arch.parts import Parts
from qrt.arch.rope import LONGROPE, factors_tensor, read_rope
from qrt.arch.source import Source, place
from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.heads import Head, Pooling, Ranking
from qrt.graph.ops.add import Add
from qrt.graph.ops.add_positions import AddPositions
from qrt.graph.ops.attend_rows import AttendRows
from qrt.graph.ops.elementwise import Elementwise
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.select import Select

OUTPUT = ("output.weight", "output.bias", "output.scale")
"""The tensors that logits alone need."""


class Decoder(Parts):
    """RMSNorm, rotary grouped-query attention, RMSNorm, SwiGLU; residuals around both.

    A subclass states how its architecture differs: by attributes (see Options) first, by methods
    where that is not enough.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        n_experts = source.count("expert_count", 0)
        if n_experts and not self.has_experts:
            expected = f"0, since {source.arch} models with experts are not supported"
            raise source.wrong(source.key("expert_count"), expected, n_experts)
        self.sees_ahead = self.read_sides()
        hp = read_hparams(source, self.norm_kind, self.windows, self.attention_is)
        layers = tuple(replace(layer, kind=self.kind_of(layer)) for layer in hp.layers)
        if self.sees_ahead and any(layer.kind == "recurrent" for layer in layers):
            expected = "true, since some layers remember what precedes and see nothing ahead"
            raise source.wrong(source.key("attention.causal"), expected, False)
        self.hp = replace(hp, layers=layers)
        self.heeded = self.numbers()
        self.ropes = [
            self.rope_spec(layer) if layer.kind == "attention" else None for layer in layers
        ]
        self.graph = GraphBuilder()

    def read_sides(self) -> bool:
        """Whether rows see those that follow them. Raises ArchError where it cannot be so."""
        key, usual = "attention.causal", not self.sees_ahead
        causal = self.source.flag(key, usual)
        if causal != usual and not self.two_sided:
            expected = f"{str(usual).lower()}, as {self.source.arch} models have it"
            raise self.source.wrong(self.source.key(key), expected, causal)
        return not causal

    def kind_of(self, layer: Layer) -> Kind:  # noqa: ARG002
        """What mixes the positions of a layer; a hybrid says which have attention."""
        return "recurrent" if self.attention_is == "nowhere" else "attention"

    def numbers(self) -> Mapping[str, float | None]:
        """Keys of real hyperparameters that the architecture heeds, beyond those of all decoders.

        Each with its value where a file has none; None: a file must have it. `number` asks for
        embedding_scale, residual_scale, logit_scale, attention.scale, attention.clamp_kqv,
        attention.max_alibi_bias, attn_logit_softcapping and final_logit_softcapping.
        """
        return {}

    def number(self, key: str, neutral: float = 0.0) -> float:
        """A real hyperparameter; `neutral` where it is 0, or the architecture does not heed it."""
        if key not in self.heeded:
            return neutral
        return self.source.real(key, self.heeded[key], zero=neutral)

    def build(self, embedding: bool | None = None) -> Graph:
        """The graph of the whole model, its tensors not yet checked.

        With `embedding` its output is hidden states, with False logits, where the model can have
        them; None: hidden states where the file names a pooling.
        """
        pooling, dense, ranking = self.pooled(embedding)
        x = self.embed()
        for layer in self.hp.layers:
            self.graph.begin_layer()
            x = self.block(layer, x)
        x = self.final(self.graph.append(Select("selected", x)))
        if pooling is None:
            self.head(x)
        return self.graph.build(
            self.source.arch,
            n_ctx_train=self.hp.n_ctx_train,
            dim=self.hp.dim,
            n_vocab=self.hp.n_vocab,
            unused=self.unused() if pooling is None else {*self.unused(), *OUTPUT},
            pooling=pooling,
            dense=dense,
            ranking=ranking,
        )

    def pooled(
        self, embedding: bool | None
    ) -> tuple[Pooling | None, tuple[Head, ...], Ranking | None]:
        """What becomes of hidden states, None for a model of logits."""
        source = self.source
        stated = read_pooling(source)
        cls_pooling: Literal["mean", "cls", "last"]
        cls_pooling = self.cls_pooling if self.sees_ahead else "last"
        norms = (self.cls_act, self.cls_softmax, self.hp.eps)
        ranking = read_ranking(source, cls_pooling, *norms)
        if stated == "rank" and ranking is None:
            raise source.wrong("tensor 'cls.weight' or 'cls.output.weight'", "a classifier", None)
        if embedding is None:
            embedding = stated not in (None, "none")
        if not (embedding or self.sees_ahead):
            return None, (), ranking
        if stated is None:
            stated = "mean" if ranking is None else "rank"
        return stated, read_dense(source), ranking

    def embed(self) -> str:
        """Embeddings of tokens, with those of types, positions and a norm where there are such."""
        hp, scale = self.hp, self.number("embedding_scale", 1.0)
        x = self.graph.append(Embed("token_embd", "token_embd.weight", hp.n_vocab, hp.dim, scale))
        x = self.typed(x)
        if self.learned_positions:
            name = "position_embd"
            x = self.graph.append(AddPositions(name, x, f"{name}.weight", hp.n_ctx_train))
        return x if self.embed_norm is None else self.norm(self.embed_norm, x)

    def typed(self, x: str) -> str:
        """Embeddings with those of the types of tokens: only some architectures have them."""
        return x

    def block(self, layer: Layer, x: str) -> str:
        """One layer, from residual stream to residual stream."""
        at = layer.at
        h = self.norm_of(layer, self.attn_norm, x)
        attended = self.attended(layer, x, h)
        if not self.parallel:
            h = self.norm_of(layer, self.ffn_norm, attended)
        elif self.ffn_norm is not None:
            h = self.norm_of(layer, self.ffn_norm, x)
        more = self.norm_of(layer, self.ffn_post_norm, self.feed_forward(layer, h))
        return self.add(f"{at}ffn_add", attended, more)

    def attended(self, layer: Layer, x: str, h: str) -> str:
        """The residual stream x behind what mixes positions, which reads h."""
        more = self.norm_of(layer, self.attn_post_norm, self.mixed(layer, h))
        return self.add(f"{layer.at}attn_add", x, more)

    def mixed(self, layer: Layer, x: str) -> str:
        """What mixes the positions of x."""
        if layer.kind == "recurrent":
            return self.recurrent(layer, x)
        return self.attention(layer, x)

    def recurrent(self, layer: Layer, x: str) -> str:
        """What a layer that remembers by a state of fixed size makes of x."""
        raise NotImplementedError

    def add(self, name: str, x: str, more: str) -> str:
        """The residual stream x and what a part of a block adds to it."""
        more = self.scaled(more, self.number("residual_scale", 1.0))
        return self.graph.append(Add(name, x, more))

    def attention(self, layer: Layer, x: str) -> str:
        """Queries, keys and values of x, attention, output projection."""
        q, k, v = self.qkv(layer, x)
        q, k = self.placed(layer, q, k)
        if self.v_norm:
            norm = Norm(f"{layer.at}attn_v_norm", v, None, layer.value_dim, self.hp.eps)
            v = self.graph.append(norm)
        return self.attend(layer, self.tempered(layer, q), k, v)

    def attend(
        self, layer: Layer, q: str, k: str | None, v: str | None, cache: int | None = None
    ) -> str:
        """Attention to the layer's cache or another's, and the output projection."""
        if self.sees_ahead:
            assert k is not None, layer
            assert v is not None, layer
            return self.output(layer, self.attend_rows(layer, q, k, v))
        h = self.graph.attention(
            f"{layer.at}attn",
            q,
            k,
            v,
            layer=layer.number if cache is None else cache,
            n_heads=layer.n_heads,
            n_kv_heads=layer.n_kv_heads,
            scale=self.number("attention.scale") or layer.head_dim**-0.5,
            v_width=layer.value_dim,
            window=layer.window,
            softcap=self.number("attn_logit_softcapping") or None,
            chunked=self.chunked,
            sinks=f"{layer.at}attn_sinks.weight" if self.sinks else None,
            max_bias=self.number("attention.max_alibi_bias"),
        )
        return self.output(layer, h)

    def attend_rows(self, layer: Layer, q: str, k: str, v: str) -> str:
        """Attention to all rows of the text; half of a window lies to either side."""
        return self.graph.append(
            AttendRows(
                f"{layer.at}attn",
                *(q, k, v),
                layer=layer.number,
                n_heads=layer.n_heads,
                n_kv_heads=layer.n_kv_heads,
                k_width=layer.head_dim,
                v_width=layer.value_dim,
                scale=self.number("attention.scale") or layer.head_dim**-0.5,
                reach=None if layer.window is None else layer.window // 2,
                softcap=self.number("attn_logit_softcapping") or None,
                max_bias=self.number("attention.max_alibi_bias"),
                rel_bias=self.distance_bias(layer),
                n_buckets=self.n_buckets,
            )
        )

    def distance_bias(self, layer: Layer) -> str | None:  # noqa: ARG002
        """The weight that scores have for distances: only some encoders learn one."""
        return None

    def output(self, layer: Layer, h: str) -> str:
        """What the heads of attention give, projected to the residual stream."""
        return self.linear(f"{layer.at}attn_output", h, self.hp.dim)

    def qkv(self, layer: Layer, x: str) -> tuple[str, str, str]:
        """Query (n_heads * head_dim), key (n_kv_heads * head_dim) and value (n_kv_heads *
        value_dim) before norms and rope; from `attn_qkv` where the file has it.
        """
        at, limit = layer.at, self.number("attention.clamp_kqv")
        widths = {
            f"{at}attn_q": layer.n_heads * layer.head_dim,
            f"{at}attn_k": layer.n_kv_heads * layer.head_dim,
            f"{at}attn_v": layer.n_kv_heads * layer.value_dim,
        }
        if f"{at}attn_qkv.weight" in self.source.tensors:
            joined = self.linear(f"{at}attn_qkv", x, sum(widths.values()))
            q, k, v = self.split(self.clamped(joined, limit), widths)
        else:
            q, k, v = (self.clamped(self.linear(name, x, n), limit) for name, n in widths.items())
        return q, k, v

    def placed(self, layer: Layer, q: str, k: str) -> tuple[str, str]:
        """Queries and keys, normalized and turned to their positions."""
        steps = [self.head_norm, self.rotated]
        for step in reversed(steps) if self.qk_norm_after_rope else steps:
            q, k = step(layer, "attn_q", q), step(layer, "attn_k", k)
        return q, k

    def head_norm(self, layer: Layer, stem: str, x: str) -> str:
        """Queries or keys, normalized as stated."""
        if self.qk_norm is None:
            return x
        group = None if self.qk_norm == "row" else layer.head_dim
        return self.norm(f"{layer.at}{stem}_norm", x, group, self.qk_norm == "each")

    def rotated(self, layer: Layer, stem: str, x: str) -> str:
        """Queries or keys behind the rotary embedding of their layer."""
        if (spec := self.ropes[layer.number]) is None:
            return x
        return self.graph.append(Rope(f"{layer.at}{stem}_rope", x, layer.head_dim, spec))

    def tempered(self, layer: Layer, q: str) -> str:  # noqa: ARG002
        """Queries scaled by their position: only some architectures do that."""
        return q

    def feed_forward(self, layer: Layer, x: str) -> str:
        """Gated feed-forward network, or one without a gate."""
        at, dim = layer.at, layer.ffn_dim
        if self.ffn == "plain":
            up = self.linear(f"{at}ffn_up", x, dim)
            h = self.graph.append(Elementwise(f"{at}ffn_act", up, self.act))
        elif self.ffn == "fused":
            both = self.linear(f"{at}ffn_up", x, 2 * dim)
            h = self.graph.append(Glu(f"{at}ffn_glu", both, None, self.act))
        else:
            gate = self.ffn_gate(layer, x)
            up = self.linear(f"{at}ffn_up", x, dim)
            h = self.graph.append(Glu(f"{at}ffn_glu", gate, up, self.act))
        return self.down(layer, h)

    def ffn_gate(self, layer: Layer, x: str) -> str:
        """What the activation of a gated network is of."""
        return self.linear(f"{layer.at}ffn_gate", x, layer.ffn_dim)

    def down(self, layer: Layer, h: str) -> str:
        """What the activation gives, projected to the residual stream."""
        return self.linear(f"{layer.at}ffn_down", h, self.hp.dim)

    def final(self, x: str) -> str:
        """Hidden states behind the last norm."""
        return self.norm(self.output_norm, x)

    def head(self, x: str) -> str:
        """Logits; without `output.weight` the embedding serves as output."""
        tied = "output.weight" not in self.source.tensors
        x = self.linear("output", x, self.hp.n_vocab, "token_embd" if tied else None)
        x = self.scaled(x, self.number("logit_scale", 1.0))
        if limit := self.number("final_logit_softcapping"):
            x = self.graph.append(Elementwise("output_capped", x, "softcap", limit))
        return x

    def rope_spec(self, layer: Layer) -> RopeSpec | None:
        """The rotary embedding of a layer; None: it has none."""
        if self.rope_style is None:
            return None
        source, n_ctx = self.source, self.hp.n_ctx_train
        dim = source.count("rope.dimension_count", layer.head_dim)
        if layer.window is not None:
            dim = source.count("rope.dimension_count_swa", dim)
        return read_rope(
            source,
            self.rope_style,
            layer.head_dim,
            n_ctx,
            factors_tensor(source, self.rope_factors, self.longrope, n_ctx),
            self.yarn_keys,
            dim=dim,
            base=self.rope_base(layer),
            scaled=layer.window is None or self.local_rope_scaled,
        )

    def rope_base(self, layer: Layer) -> float:
        """The base of a layer's rotary frequencies."""
        base = self.source.real("rope.freq_base", 10000.0)
        if layer.window is None:
            return base
        return self.source.real("rope.freq_base_swa", self.local_rope_base or base)

    def unused(self) -> Iterator[str]:
        """Tensors of the file that logits do not need, or that are folded into the ops."""
        passed_over = {
            *self.ignored,
            self.rope_factors,
            *(LONGROPE.values() if self.longrope else ()),
        }
        ahead = range(len(self.hp.layers), self.hp.n_blocks)
        for name in self.source.tensors:
            block, stem = place(name)
            if block in ahead or stem in passed_over or stem.endswith(".input_scale"):
                yield name
