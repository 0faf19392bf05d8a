"""qwen3moe: Qwen3 with experts, Qwen3-Coder."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Yang et al. 2025: every query and key head has an RMSNorm before rope."""

    qk_norm = "head"
    rules = ExpertRules(keys=(EXPERT_DIM,))
