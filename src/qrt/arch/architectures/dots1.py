"""dots1: dots.llm1."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, GROUPS, NORM, SCALE, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Huo et al. 2025: DeepSeek's experts on attention with norms of queries and keys."""

    qk_norm = "head"
    rules = ExpertRules(
        keys=(EXPERT_DIM, GATING, NORM, SCALE, GROUPS, FIRST),
        gating=None,
        renormalize=False,
        shared="count",
    )
