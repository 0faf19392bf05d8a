"""glm4moe: GLM-4.5, 4.6 and 4.7, and their smaller forms."""

from __future__ import annotations

from qrt.arch.experts import EXPERT_DIM, FIRST, GATING, GROUPS, NORM, SCALE, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """GLM Team 2025: routing by sigmoid and a bias, rope on half of each head."""

    ffn_norm = "post_attention_norm"
    qk_norm = "head"
    optional_norms = ("attn_q_norm", "attn_k_norm")
    rules = ExpertRules(
        keys=(EXPERT_DIM, GATING, NORM, SCALE, GROUPS, FIRST),
        gating="sigmoid",
        renormalize=False,
        shared="count",
        needs_bias=True,
    )
