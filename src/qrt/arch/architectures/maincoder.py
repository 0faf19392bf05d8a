"""maincoder: Maincoder-1B."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Maincode 2025: norms of query and key heads behind rope."""

    rope_style = "norm"
    qk_norm = "head"
    qk_norm_after_rope = True
