"""qwen35moe: Qwen3.5 and Qwen3.6 with experts, their text side."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, SHARED_DIM, ExpertRules
from qrt.arch.gated_delta import GatedDelta
from qrt.arch.mixture import Mixture


class Architecture(GatedDelta, Mixture):
    """Qwen Team 2026: for text, all sections of its rope have the same position."""

    rules = ExpertRules(
        keys=(EXPERT_DIM, SHARED_DIM), shared="one", shared_dim="dense", shared_gate=True
    )
