"""qwen2moe: Qwen1.5 and Qwen2 with experts."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, SHARED_DIM, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Yang et al. 2024: shared experts, of which each row takes a share that it computes."""

    rules = ExpertRules(
        keys=(EXPERT_DIM, SHARED_DIM),
        renormalize=False,
        shared="one",
        shared_dim="dense",
        shared_gate=True,
    )
