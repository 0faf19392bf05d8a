"""What decides which variant of its kernel an op runs with: formats, type of cache, tiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qrt.backends.base import kv_types
from qrt.backends.cpu.tiling import Tiling
from qrt.graph.lower import F32, Task
from qrt.kernels import layout
from qrt.kernels.panels import PANEL_FORMATS

LINES, FLOATS = "lines", "floats"
"""Forms of activations: quantized lines for quantized weights, float32 tiles for the others."""

FORM_BYTES = {F32: 4.0, LINES: layout.LINE / 32, FLOATS: 4.0}


def form_for(qtype: str) -> str:
    """The form in which weights of `qtype` want their input."""
    return LINES if PANEL_FORMATS[qtype].quantized else FLOATS


def bits(value: float) -> int:
    """A float32 as the integer that a record holds."""
    return int(np.float32(value).view(np.int32))


@dataclass(frozen=True, slots=True)
class Variant:
    """The formats of a model's matrices by name, the type of its cache, a step's tiling."""

    qtypes: Mapping[str, str]
    kv_type: str
    tiling: Tiling

    def with_cache(self, family: str, *, v_in_k: bool) -> str:
        """A kernel that has a variant for each type of K and of V, or for V that is in K."""
        k_type, v_type = kv_types(self.kv_type)
        return f"{family}.{k_type}.{'k' if v_in_k else v_type}"

    def on_experts(self, weight: str) -> str:
        """The kernel of a matmul with the matrices of experts."""
        return f"expert_{self.tiling.routed_matmul.format(self.qtypes[weight])}"

    def matmul(self, task: Task, weight: str) -> str:
        """The kernel of a task's matmul with one matrix."""
        qtype = self.qtypes[weight]
        if task.of_logits:  # few rows, whose weights come from memory
            return f"matmul.{qtype}.{self.tiling.logit_rows}"
        return self.tiling.matmul.format(qtype)
