"""ernie4_5: ERNIE 4.5, dense."""

from __future__ import annotations

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Baidu 2025; files may count experts that they do not have."""

    rope_style = "norm"
    has_experts = True
    ignored = frozenset({"attn_output.bias"})
