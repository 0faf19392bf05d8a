"""ernie4_5-moe: ERNIE 4.5 with experts."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, FIRST, SHARED_DIM, STEP, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Baidu 2025: experts in every so many layers behind the first."""

    rope_style = "norm"
    ignored = frozenset({"attn_output.bias"})
    rules = ExpertRules(keys=(EXPERT_DIM, SHARED_DIM, FIRST, STEP), shared="one", shared_dim="none")
