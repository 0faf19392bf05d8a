"""mamba: Mamba, and Falcon Mamba."""

from __future__ import annotations

from qrt.arch.mamba import Mamba, OnePart
from qrt.arch.source import Source


class Architecture(OnePart, Mamba):
    """Gu and Dao 2023; Falcon Mamba (Zuo et al. 2024) normalizes what its scan is told."""

    attention_is = "nowhere"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if source.flag("ssm.dt_b_c_rms", False):
            self.norms_inside = "plain"
