"""starcoder: StarCoder and SantaCoder."""

from __future__ import annotations

from qrt.arch.architectures import gpt2


class Architecture(gpt2.Architecture):
    """Li et al. 2023: GPT-2 with one head of keys and values."""
