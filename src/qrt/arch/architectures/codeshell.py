"""codeshell: CodeShell."""

from __future__ import annotations

from qrt.arch.architectures import starcoder2


class Architecture(starcoder2.Architecture):
    """Xie et al. 2024: StarCoder2's layers."""
