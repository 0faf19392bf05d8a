"""hunyuan-moe: Hunyuan with experts."""

from __future__ import annotations

from qrt.arch.experts import SHARED_DIM, ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Tencent 2025: norms of queries and keys behind rope, a shared expert."""

    qk_norm = "head"
    qk_norm_after_rope = True
    rules = ExpertRules(keys=(SHARED_DIM,), shared="one", shared_dim="dense")
