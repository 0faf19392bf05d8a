"""refact: Refact 1.6B."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder


class Architecture(Decoder):
    """Small Magellanic Cloud AI 2023: Llama's layers with ALiBi for positions."""

    rope_style = None

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.max_alibi_bias": 8.0}
