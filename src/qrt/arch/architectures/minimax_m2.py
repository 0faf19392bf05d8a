"""minimax-m2: MiniMax-M2."""

from __future__ import annotations

from qrt.arch.experts import GATING, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """MiniMax 2025: norms of all queries and keys of a row, rope on half of each head."""

    qk_norm = "row"
    rules = ExpertRules(keys=(GATING,), gating=None, needs_bias=True)
