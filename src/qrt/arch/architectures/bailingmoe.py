"""bailingmoe: Ling and Ling-Coder."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, NORM, SCALE, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Ling Team 2025: small experts beside shared ones."""

    rope_style = "norm"
    rules = ExpertRules(keys=(EXPERT_DIM, NORM, SCALE), renormalize=False, shared="count")
