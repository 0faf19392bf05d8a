"""What a file says of its mixture of experts: sizes, routing, and the layers that have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from qrt.arch.hparams import Hparams, Layer
from qrt.arch.source import Source
from qrt.graph.ops.route import Gating

GATINGS: dict[int, Gating] = {
    1: "softmax",
    2: "sigmoid",
    3: "softmax_of_chosen",
    4: "sqrt_softplus",
}
"""By the number that `expert_gating_func` has in a file; 0 says nothing."""

T = TypeVar("T")

EXPERT_DIM = "expert_feed_forward_length"
SHARED_DIM = "expert_shared_feed_forward_length"
GATING, NORM, SCALE = "expert_gating_func", "expert_weights_norm", "expert_weights_scale"
GROUPS = "expert_group_count"
FIRST, STEP = "leading_dense_block_count", "interleave_moe_layer_step"
JITTER = "router_jitter_noise"
"""Half the threshold of sparsemixer, which a file that has it asks for. Its name is that in the
configuration of Phi-3.5-MoE; llama.cpp and its converter do not know it."""


@dataclass(frozen=True, slots=True)
class ExpertRules:
    """How an architecture's experts differ from those of Mixtral (Jiang et al. 2024)."""

    optional: bool = False
    """Whether files may have none."""
    keys: tuple[str, ...] = ()
    """Of the keys above those that the architecture heeds; others keep their defaults."""
    gating: Gating | None = "softmax"
    """Where the file does not say; None: it has to."""
    renormalize: bool = True
    """Whether the weights of the chosen are divided by their sum, where the file does not say."""
    shared: Literal["none", "one", "count"] = "none"
    """Experts that all rows meet, side by side as one network: as many as `expert_shared_count`."""
    shared_dim: Literal["none", "dense", "expert"] = "expert"
    """The width of a shared expert where the file does not say: that of a dense layer, or of the
    other experts, or there is none."""
    act: Literal["oai"] | None = None
    """Activation; None: that of dense layers."""
    shared_gate: bool = False
    """Whether each row has a weight for them, the sigmoid of `ffn_gate_inp_shexp`."""
    needs_bias: bool = False
    """Whether the bias of the choice, `exp_probs_b`, must be there; otherwise it may be."""
    alone: bool = False
    """Whether experts are in those layers alone where nothing mixes positions."""
    weigh_first: bool = False
    """Whether weights multiply what goes into the experts, not what comes out."""


@dataclass(frozen=True, slots=True)
class Experts:
    """Sizes and routing of the layers that have experts; `shared_dim` 0: none that all rows meet.

    They are the layers from `first` on whose number, counted from 1, `step` divides.
    """

    n_experts: int
    n_used: tuple[int, ...]
    """Of each layer; 0 in layers without experts."""
    ffn_dims: tuple[int, ...]
    """Of an expert in each layer."""
    shared_dim: int
    gating: Gating
    renormalize: bool
    scale: float
    threshold: float
    """Of sparsemixer."""
    n_groups: int
    n_groups_used: int
    first: int
    step: int
    alone: bool

    def are_in(self, layer: Layer) -> bool:
        """Whether the layer has experts."""
        if self.alone and layer.kind != "none":
            return False
        return layer.number >= self.first and (layer.number + 1) % self.step == 0


def read_experts(source: Source, hp: Hparams, rules: ExpertRules) -> Experts | None:
    """Reads and checks the keys; None for a file without experts.

    Raises ArchError naming the key that is wrong.
    """
    n_experts = source.count("expert_count", 0)
    if n_experts == 0 and rules.optional:
        return None
    if n_experts == 0:
        raise source.wrong(source.key("expert_count"), "the number of experts", n_experts)
    n_used = source.counts("expert_used_count", hp.n_blocks)
    most = max(n_used)
    if most > n_experts:
        key = source.key("expert_used_count")
        raise source.wrong(key, f"at most the number of experts, {n_experts}", most)

    def heeded(read: Callable[[str, T], T], key: str, default: T) -> T:
        return read(key, default) if key in rules.keys else default

    dense_dim = hp.layers[0].ffn_dim
    by_default = tuple(layer.ffn_dim for layer in hp.layers)
    if EXPERT_DIM in rules.keys:
        by_default = tuple(dim // max(1, n) for dim, n in zip(by_default, n_used, strict=False))
    ffn_dims = heeded(
        lambda key, default: source.counts(key, hp.n_blocks, default),
        EXPERT_DIM,
        by_default + (0,) * (hp.n_blocks - len(hp.layers)),
    )
    shared_dim = {"none": 0, "dense": dense_dim, "expert": ffn_dims[0]}[rules.shared_dim]
    n_groups = heeded(source.count, GROUPS, 1)
    n_groups_used = _n_groups_used(source, n_groups, n_experts, most) if n_groups > 1 else 1
    gating = _gating(source, rules, heeded(source.count, GATING, 0))
    renormalize = heeded(source.flag, NORM, rules.renormalize)
    experts = Experts(
        n_experts=n_experts,
        n_used=n_used,
        ffn_dims=ffn_dims,
        shared_dim=_n_shared(source, rules) * heeded(source.count, SHARED_DIM, shared_dim),
        gating=gating,
        renormalize=renormalize and gating != "sparsemixer",
        scale=heeded(partial(source.real, zero=1.0), SCALE, 1.0),
        threshold=2.0 * heeded(source.real, JITTER, 0.0),
        n_groups=max(1, n_groups),
        n_groups_used=n_groups_used,
        first=heeded(source.count, FIRST, 0),
        step=heeded(source.count, STEP, 1),
        alone=rules.alone,
    )
    for layer in filter(experts.are_in, hp.layers):
        for key, numbers in (("expert_used_count", n_used), (EXPERT_DIM, ffn_dims)):
            if numbers[layer.number] == 0:
                expected = f"at least 1 for layer {layer.number}, which has experts"
                raise source.wrong(source.key(key), expected, 0)
    return experts


def _n_shared(source: Source, rules: ExpertRules) -> int:
    if rules.shared == "count":
        return source.count("expert_shared_count", 0)
    return 1 if rules.shared == "one" else 0


def _gating(source: Source, rules: ExpertRules, number: int) -> Gating:
    if JITTER in rules.keys and source.has(JITTER):
        return "sparsemixer"
    gating = GATINGS.get(number, rules.gating)
    if gating is None:
        raise source.wrong(source.key(GATING), f"a number from 1 to {len(GATINGS)}", number)
    return gating


def _n_groups_used(source: Source, n_groups: int, n_experts: int, n_used: int) -> int:
    """From how many groups of experts a row may choose."""
    if n_experts % n_groups or n_groups == n_experts:
        expected = f"a divisor of the {n_experts} experts that leaves several in each group"
        raise source.wrong(source.key(GROUPS), expected, n_groups)
    n_groups_used = source.count("expert_group_used_count")
    least = -(-n_used * n_groups // n_experts)
    if not least <= n_groups_used <= n_groups:
        expected = f"from {least}, which hold {n_used} experts, to {n_groups}"
        raise source.wrong(source.key("expert_group_used_count"), expected, n_groups_used)
    return n_groups_used
