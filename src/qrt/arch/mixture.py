"""The decoder whose feed-forward networks are mixtures of experts, in all layers or in some."""

from __future__ import annotations

from typing import ClassVar

from qrt.arch.decoder import Decoder
from qrt.arch.experts import ExpertRules, read_experts
from qrt.arch.hparams import Layer
from qrt.arch.source import Source
from qrt.graph.ops.add import Add
from qrt.graph.ops.elementwise import Elementwise
from qrt.graph.ops.expert_linear import ExpertLinear
from qrt.graph.ops.gate import Gate
from qrt.graph.ops.gather import Gather
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.route import Route
from qrt.graph.ops.scatter import Scatter


class Mixture(Decoder):
    """A router sends each row to some of many networks (Shazeer et al. 2017)."""

    has_experts = True
    rules: ClassVar[ExpertRules] = ExpertRules()
    """How its experts differ from Mixtral's."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.experts = read_experts(source, self.hp, self.rules)

    def feed_forward(self, layer: Layer, x: str) -> str:
        """The experts that a router chooses for each row of x, and those that all rows meet."""
        if self.experts is None or not self.has_mixture(layer):
            return super().feed_forward(layer, x)
        at = layer.at
        logits = self.linear(f"{at}ffn_gate_inp", x, self.experts.n_experts)
        out = self.routed(layer, x, logits)
        if self.experts.shared_dim == 0:
            return out
        shared = self.shared(layer, x, self.experts.shared_dim)
        return self.together(layer, out, shared)

    def has_mixture(self, layer: Layer) -> bool:
        """Whether a layer has experts, in a file that has them."""
        assert self.experts is not None
        return self.experts.are_in(layer)

    def together(self, layer: Layer, chosen: str, shared: str) -> str:
        """What a layer makes of its chosen and its shared experts."""
        return self.graph.append(Add(f"{layer.at}ffn_moe", chosen, shared))

    def routed(self, layer: Layer, x: str, logits: str) -> str:
        """Each row of x through the experts that its `logits` choose, their results added up."""
        experts, graph, at = self.experts, self.graph, layer.at
        assert experts is not None
        sizes = (experts.n_experts, experts.n_used[layer.number])
        has_bias = self.rules.needs_bias or "exp_probs_b.bias" in self.source.stems
        has_bias = has_bias and experts.gating != "sparsemixer"
        route = graph.append(
            Route(
                f"{at}ffn_route",
                logits,
                *sizes,
                experts.gating,
                f"{at}exp_probs_b.bias" if has_bias else None,
                experts.n_groups,
                experts.n_groups_used,
                experts.renormalize,
                experts.scale,
                experts.threshold,
            )
        )

        def linear(stem: str, x: str, width: int) -> str:
            name = f"{at}{stem}"
            scale = f"{name}.scale" if f"{name}.scale" in self.source.tensors else None
            weight, bias = f"{name}.weight", self.bias(name)
            return graph.append(ExpertLinear(name, x, route, weight, *sizes, width, bias, scale))

        first = self.rules.weigh_first
        h = graph.append(Gather(f"{at}ffn_gather", x, route, *sizes, first))
        dim = experts.ffn_dims[layer.number]
        act = self.rules.act or self.act
        if self.ffn == "plain":
            assert act != "oai"
            up = linear("ffn_up_exps", h, dim)
            h = graph.append(Elementwise(f"{at}ffn_exps_act", up, act))
        elif f"{at}ffn_gate_up_exps.weight" in self.source.tensors:
            both = linear("ffn_gate_up_exps", h, 2 * dim)
            h = graph.append(Glu(f"{at}ffn_exps_glu", both, None, act))
        else:
            gate = linear("ffn_gate_exps", h, dim)
            up = linear("ffn_up_exps", h, dim)
            h = graph.append(Glu(f"{at}ffn_exps_glu", gate, up, act))
        h = linear("ffn_down_exps", h, graph.widths[x])
        return graph.append(Scatter(f"{at}ffn_scatter", h, route, *sizes, not first))

    def shared(self, layer: Layer, x: str, dim: int) -> str:
        """The experts that all rows meet, as one network of width `dim`."""
        at = layer.at
        up = self.linear(f"{at}ffn_up_shexp", x, dim)
        if self.ffn == "plain":
            h = self.graph.append(Elementwise(f"{at}ffn_shexp_act", up, self.act))
        else:
            gate = self.linear(f"{at}ffn_gate_shexp", x, dim)
            h = self.graph.append(Glu(f"{at}ffn_shexp_glu", gate, up, self.act))
        h = self.linear(f"{at}ffn_down_shexp", h, self.hp.dim)
        if not self.rules.shared_gate:
            return h
        weight = self.linear(f"{at}ffn_gate_inp_shexp", x, 1)
        return self.graph.append(Gate(f"{at}ffn_shexp", h, weight))
