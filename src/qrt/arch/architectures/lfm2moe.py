"""lfm2moe: LFM2 and LFM2.5 with experts."""

from __future__ import annotations

from qrt.arch.architectures import lfm2
from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(lfm2.Architecture, Mixture):
    """Liquid AI 2025: experts behind the first dense layers, chosen by sigmoid and a bias."""

    rules = ExpertRules(keys=(EXPERT_DIM, GATING, FIRST), gating=None, needs_bias=True)
