"""bloom: BLOOM and BLOOMZ."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.architectures import gpt2


class Architecture(gpt2.Architecture):
    """BigScience 2022: GPT-2 with ALiBi for positions and a norm of the embeddings."""

    learned_positions = False
    embed_norm = "token_embd_norm"
    required_biases = (*gpt2.Architecture.required_biases, embed_norm)

    def numbers(self) -> Mapping[str, float | None]:
        return {"attention.max_alibi_bias": 8.0}
