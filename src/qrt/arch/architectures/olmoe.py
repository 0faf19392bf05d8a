"""olmoe: OLMoE."""

from __future__ import annotations

from qrt.arch.experts import ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Muennighoff et al. 2024: norms of all queries and keys of a row; weights as they are."""

    qk_norm = "row"
    rules = ExpertRules(renormalize=False)
