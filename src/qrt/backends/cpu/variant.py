"""What decides which variant of its kernel an op runs with: formats, type of cache, tiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qrt.backends.base import kv_types
from qrt.backends.cpu.tiling import Tiling, few
from qrt.graph.lower import F32, Task
from qrt.graph.op import ROUTED
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

    def with_lines(self, family: str, task: Task) -> str:
        """A kernel that hands over lines, of int8 or of bf16."""
        return f"{family}.bf16" if self.tiling.in_bf16(task) and LINES in task.forms else family

    def rows_at_once(self, rows: str) -> int:
        """The rows of a row set that its matmuls take at once."""
        return self.tiling.routed if rows == ROUTED else self.tiling.rows

    def on_experts(self, weight: str) -> str:
        """The kernel of a matmul with the matrices of experts."""
        few_rows = few(self.tiling.routed)
        tiling = few_rows if self.tiling == few(self.tiling.rows) else self.tiling
        return f"expert_{tiling.matmul.format(self.qtypes[weight])}"

    def matmul(self, task: Task, weight: str) -> str:
        """The kernel of a task's matmul with one matrix."""
        qtype = self.qtypes[weight]
        if self.on_tiles(task, weight):
            return f"matmul_amx.{qtype}"
        if task.of_logits:  # few rows, whose weights come from memory
            return f"matmul.{qtype}.{self.tiling.rows}"
        return self.tiling.matmul.format(qtype)

    def on_tiles(self, task: Task, weight: str) -> bool:
        """Whether a matmul of a task runs on tile registers."""
        return self.tiling.in_bf16(task) and form_for(self.qtypes[weight]) == LINES
