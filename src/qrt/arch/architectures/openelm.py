"""openelm: OpenELM."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Mehta et al. 2024: deeper layers have more heads and wider networks; norms of query and key
    heads.
    """

    qk_norm = "head"
