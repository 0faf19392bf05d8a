"""Four small models with random weights: Mamba, MLA, a mixture of experts, a windowed one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fakes import N_VOCAB

import toys  # noqa: F401  finds what the toy ops mean
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.f32 import F32
from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.expert_linear import ExpertLinear
from qrt.graph.ops.gather import Gather
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.route import Route
from qrt.graph.ops.scatter import Scatter
from qrt.graph.ops.select import Select
from toys.ops import Scan

DIM, N_LAYERS, N_CTX = 32, 3, 16384
N_HEADS, N_KV_HEADS, HEAD_DIM, WINDOW = 4, 2, 16, 128
N_EXPERTS, N_USED = 4, 2
LATENT, V_WIDTH = 24, 16
"""MLA: values of a position that all heads share, and how many of them are V."""

SPEC = RopeSpec("neox", 8, (1.0, 0.1, 0.01, 0.001))
Mixer = Callable[[GraphBuilder, int, str], str]


def linear(graph: GraphBuilder, name: str, x: str, n_out: int) -> str:
    return graph.append(Linear(name, x, f"{name}.weight", n_out))


def norm(graph: GraphBuilder, name: str, x: str) -> str:
    return graph.append(Norm(name, x, f"{name}.weight", graph.widths[x], 1e-5))


def feed_forward(graph: GraphBuilder, at: str, x: str) -> str:
    gate, up = (linear(graph, f"{at}ffn_{name}", x, 2 * DIM) for name in ("gate", "up"))
    h = graph.append(Glu(f"{at}ffn_glu", gate, up))
    return linear(graph, f"{at}ffn_down", h, DIM)


def attend(graph: GraphBuilder, layer: int, x: str, window: int | None = None) -> str:
    at = f"blk.{layer}."
    q = linear(graph, f"{at}q", x, N_HEADS * HEAD_DIM)
    k, v = (linear(graph, f"{at}{name}", x, N_KV_HEADS * HEAD_DIM) for name in "kv")
    q = graph.append(Rope(f"{at}q_rope", q, HEAD_DIM, SPEC))
    k = graph.append(Rope(f"{at}k_rope", k, HEAD_DIM, SPEC))
    sizes = {"n_heads": N_HEADS, "n_kv_heads": N_KV_HEADS, "scale": HEAD_DIM**-0.5}
    h = graph.attention(f"{at}attn", q, k, v, layer=layer, window=window, **sizes)
    return linear(graph, f"{at}attn_out", h, DIM)


def windowed(graph: GraphBuilder, layer: int, x: str) -> str:
    """Two windowed layers around one that sees all: two groups of KV."""
    return attend(graph, layer, x, None if layer == 1 else WINDOW)


def all_windowed(graph: GraphBuilder, layer: int, x: str) -> str:
    return attend(graph, layer, x, WINDOW)


def latent(graph: GraphBuilder, layer: int, x: str) -> str:
    """One K for all heads, whose first values are V: MLA with its matrices absorbed."""
    at = f"blk.{layer}."
    q = linear(graph, f"{at}q", x, N_HEADS * LATENT)
    k = linear(graph, f"{at}k", x, LATENT)
    sizes = {"n_heads": N_HEADS, "n_kv_heads": 1, "scale": LATENT**-0.5, "v_width": V_WIDTH}
    h = graph.attention(f"{at}attn", q, k, None, layer=layer, **sizes)
    return linear(graph, f"{at}attn_out", h, DIM)


def scan(graph: GraphBuilder, layer: int, x: str) -> str:
    at = f"blk.{layer}."
    h = linear(graph, f"{at}in", x, DIM)
    h = graph.append(Scan(f"{at}scan", h, f"{at}decay", f"{at}taps", layer, DIM))
    return linear(graph, f"{at}out", h, DIM)


def hybrid(graph: GraphBuilder, layer: int, x: str) -> str:
    """Attention in the middle of recurrent layers."""
    return attend(graph, layer, x) if layer == 1 else scan(graph, layer, x)


def experts(graph: GraphBuilder, at: str, x: str) -> str:
    """Two of four experts beside one that all rows meet."""
    logits = linear(graph, f"{at}router", x, N_EXPERTS)
    sizes = (N_EXPERTS, N_USED)
    route = graph.append(Route(f"{at}route", logits, *sizes))

    def linears(name: str, x: str, n_out: int) -> str:
        weight = f"{at}{name}.weight"
        return graph.append(ExpertLinear(f"{at}{name}", x, route, weight, *sizes, n_out))

    h = graph.append(Gather(f"{at}gather", x, route, *sizes))
    gate, up = (linears(f"ffn_{name}_exps", h, 2 * DIM) for name in ("gate", "up"))
    h = graph.append(Glu(f"{at}ffn_exps_glu", gate, up))
    h = linears("ffn_down_exps", h, DIM)
    h = graph.append(Scatter(f"{at}scatter", h, route, *sizes))
    return graph.append(Add(f"{at}experts", feed_forward(graph, at, x), h))


def build(mixer: Mixer, feed: Callable[[GraphBuilder, str, str], str] = feed_forward) -> Graph:
    """Layers of a mixer and a feed-forward network between an embedding and logits."""
    graph = GraphBuilder()
    x = graph.append(Embed("embed", "embed.weight", N_VOCAB, DIM))
    for layer in range(N_LAYERS):
        graph.begin_layer()
        at = f"blk.{layer}."
        h = mixer(graph, layer, norm(graph, f"{at}norm", x))
        x = graph.append(Add(f"{at}add", x, h))
        h = feed(graph, at, norm(graph, f"{at}ffn_norm", x))
        x = graph.append(Add(f"{at}ffn_add", x, h))
    x = norm(graph, "out_norm", graph.append(Select("selected", x)))
    linear(graph, "logits", x, N_VOCAB)
    return graph.build("toy", n_ctx_train=N_CTX, dim=DIM)


def tensors_of(graph: Graph, seed: int = 0) -> dict[str, QTensor]:
    """Random float32 weights in the shapes that a graph names."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in graph.weights.items():
        values = rng.normal(0, shape[-1] ** -0.5 if len(shape) > 1 else 1, shape)
        data = np.ascontiguousarray(values, np.float32).view(np.uint8).reshape(-1)
        tensors[name] = QTensor(name, F32, shape, data)
    return tensors


MODELS: dict[str, Callable[[], Graph]] = {
    "mamba": lambda: build(scan),
    "hybrid": lambda: build(hybrid),
    "mla": lambda: build(latent),
    "experts": lambda: build(attend, experts),
    "windowed": lambda: build(windowed),
    "all windowed": lambda: build(all_windowed),
}
ON_CPU = ("mla", "experts", "windowed", "all windowed")
"""Those of whose ops the CPU has kernels."""
