"""qwen2vl: Qwen2-VL and Qwen2.5-VL, their text side."""

from __future__ import annotations

from qrt.arch.architectures import qwen2


class Architecture(qwen2.Architecture):
    """Wang et al. 2024: for text, all sections of its rope have the same position."""

    optional_biases = ()
    ignored = frozenset({"output.bias"})
