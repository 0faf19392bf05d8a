"""jais2: Jais 2."""

from __future__ import annotations

from qrt.arch.architectures import nemotron


class Architecture(nemotron.Architecture):
    """Anwar et al. 2025: Nemotron's layers, with biases throughout."""
