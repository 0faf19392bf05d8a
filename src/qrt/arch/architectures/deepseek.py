"""deepseek: DeepSeekMoE."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, FIRST, SCALE, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Dai et al. 2024: many small experts beside shared ones, behind dense layers."""

    rope_style = "norm"
    rules = ExpertRules(keys=(EXPERT_DIM, SCALE, FIRST), renormalize=False, shared="count")
