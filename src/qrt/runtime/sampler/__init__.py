"""The sampler: llama.cpp's chain of small functions, from logits to a token."""

from qrt.runtime.sampler.chain import Sampler
from qrt.runtime.sampler.dry import Breakers, breaker_table
from qrt.runtime.sampler.params import SamplingParams
from qrt.runtime.sampler.recommended import recommended_sampling, with_recommended
from qrt.runtime.sampler.row import MOST_LISTED, Row

__all__ = [
    "MOST_LISTED",
    "Breakers",
    "Row",
    "Sampler",
    "SamplingParams",
    "breaker_table",
    "recommended_sampling",
    "with_recommended",
]
