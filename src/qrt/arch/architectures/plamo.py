"""plamo: PLaMo-13B."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Preferred Networks 2023: one norm for attention and the gated network beside it."""

    parallel = True
    ffn_norm = None
