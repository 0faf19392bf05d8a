"""bailingmoe2: Ling 2 and Ring 2."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, GROUPS, NORM, SCALE, SHARED_DIM, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Ling Team 2025: grouped routing, norms of queries and keys, rope on part of each head."""

    qk_norm = "head"
    rules = ExpertRules(
        keys=(EXPERT_DIM, SHARED_DIM, GATING, NORM, SCALE, GROUPS, FIRST),
        gating=None,
        renormalize=False,
        shared="count",
    )
