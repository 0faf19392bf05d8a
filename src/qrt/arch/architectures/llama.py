"""llama: Llama 1 to 3.x, Mistral, Mixtral, TinyLlama, SmolLM2, Yi."""

from __future__ import annotations

from typing import ClassVar

from qrt.arch.experts import ExpertRules
from qrt.arch.mixture import Mixture


class Architecture(Mixture):
    """Touvron et al. 2023; Llama 3 stretches its context by a divisor per rotary frequency."""

    two_sided = True
    rope_style = "norm"
    rope_factors = "rope_freqs.weight"
    longrope = True
    rules = ExpertRules(optional=True)
    optional_biases: ClassVar[tuple[str, ...]] = ("attn_output", "ffn_gate", "ffn_up", "ffn_down")
