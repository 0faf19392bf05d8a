"""Route: which experts a row goes to, and with which weights (Shazeer et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qrt.graph.op import Op, WeightUse

Gating = Literal["softmax", "sigmoid", "softmax_of_chosen", "sqrt_softplus", "sparsemixer"]

LEAST_SUM = 6.103515625e-5
"""What the sum of weights counts for at least when they are renormalized: the least normal F16."""


@dataclass(frozen=True, slots=True)
class Route(Op):
    """Chooses `n_used` of `n_experts` for each row of `logits` (n_rows, n_experts).

    Scores are the logits through `gating`. The best of scores + `bias` are chosen, the first of
    equals; with `n_groups` of experts only from the `n_groups_used` whose two best add up to most
    (DeepSeek-AI 2024). Their weights are the scores without the bias, or with "softmax_of_chosen"
    the softmax of the chosen logits; `renormalize` divides them by their sum, and `scale`
    multiplies them. The result is (n_rows, 2 * n_used): the experts' numbers, then the weights, the
    best first.

    "sparsemixer" (Liu et al. 2024, arXiv 2409.12136) chooses by the logits as they are. The weight
    of each choice is its share in the softmax over those experts that were not chosen before it
    and are near it: its logit is above theirs by at most `threshold` times the greater of it and
    their magnitude. What adds up to 1 is each of these softmaxes, not the weights; it is combined
    with neither bias nor groups nor `renormalize`.
    """

    kind = "route"
    scratch = "routing"

    out: str
    logits: str
    n_experts: int
    n_used: int
    gating: Gating = "softmax"
    bias: str | None = None
    n_groups: int = 1
    n_groups_used: int = 1
    renormalize: bool = False
    scale: float = 1.0
    threshold: float = 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.logits,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.logits] == self.n_experts, self.out
        assert 1 <= self.n_groups_used <= self.n_groups, self.out
        assert self.n_experts % self.n_groups == 0, self.out
        per_group = self.n_experts // self.n_groups
        assert 1 <= self.n_used <= self.n_groups_used * per_group, self.out
        assert self.n_groups == 1 or per_group > 1, self.out
        if self.gating == "sparsemixer":
            assert self.bias is None, self.out
            assert self.n_groups == 1, self.out
            assert not self.renormalize, self.out
            assert 0.0 <= self.threshold <= 1.0, self.out
        return 2 * self.n_used

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return () if self.bias is None else (WeightUse(self.bias, (self.n_experts,)),)
