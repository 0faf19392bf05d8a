"""Turns a plan into a tape: for every task its kernel and the record of its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import kv_types
from qrt.backends.cpu.kv import KVPages
from qrt.backends.cpu.memory import address, reserve
from qrt.backends.cpu.weights import Weight
from qrt.graph.ir import Add, Attention, Embed, Glu, Graph, Linear, Norm, Rope, Select
from qrt.graph.lower import F32, HandOver, Plan, StoreKV, Task
from qrt.kernels import layout
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS

LINES, LANES = "lines", "lanes"
"""Forms of activations: quantized lines for quantized weights, float32 tiles for the others."""

FORM_BYTES = {F32: 4.0, LINES: layout.LINE / 32, LANES: 4.0}

NORM_KINDS = {"rms": 1, "layer": 2}


def form_for(qtype: str) -> str:
    """The form in which weights of `qtype` want their input."""
    return LINES if PANEL_FORMATS[qtype].quantized else LANES


def heads_at_once(op: Attention) -> int:
    """Query heads that share a load of keys and values."""
    shared = op.n_heads // op.n_kv_heads
    return shared if shared < 3 else 4


def reserve_partials(graph: Graph, n_positions: int) -> NDArray[np.uint8]:
    """Room for what attention keeps of the splits of rows of `n_positions`."""
    sizes = [0]
    for op in graph.ops:
        if isinstance(op, Attention):
            heads = heads_at_once(op)
            n_groups = op.n_kv_heads * -(-op.n_heads // op.n_kv_heads // heads)
            n_splits = n_positions // layout.SPLIT + 1
            sizes.append(layout.partial_bytes(n_groups, n_splits, heads, op.head_dim))
    return reserve(max(sizes))


def reserve_wide(weights: Mapping[str, Weight], n_threads: int) -> NDArray[np.uint8]:
    """Room for each thread to widen panels of the longest rows, (n_threads, n_bytes)."""
    lengths = [w.shape[1] for w in weights.values() if len(w.shape) == 2]
    n_bytes = max([layout.WIDE_BYTES, *(2 * layout.panel_wide_bytes(n) for n in lengths)])
    return reserve(n_threads * n_bytes, huge=True).reshape(n_threads, n_bytes)


class Tiling(NamedTuple):
    """How a step's matmuls go: the activation `rows` they take at once, the name of their kernel
    with {} for the format of the weights, and whether quantized weights meet `bf16` lines instead.
    """

    rows: int
    matmul: str
    bf16: bool = False

    def in_bf16(self, task: Task) -> bool:
        """Whether a task's lines are bf16. Those of logit rows, which are few, stay quantized."""
        return self.bf16 and not task.of_logits


def kernel_of(task: Task, qtypes: dict[str, str], kv_type: str, tiling: Tiling) -> str:
    """The name of the kernel that does a task."""
    lines_of = ".bf16" if tiling.in_bf16(task) and LINES in task.forms else ""
    match task.op:
        case Embed(table=table):
            return f"embed.{qtypes[table]}"
        case Norm() | HandOver():
            return f"norm{lines_of}"
        case Linear(weight=weight):
            if tiling.in_bf16(task) and form_for(qtypes[weight]) == LINES:
                return f"matmul_amx.{qtypes[weight]}"
            if task.of_logits:  # few rows, whose weights come from memory
                return f"matmul.{qtypes[weight]}.{tiling.rows}"
            return tiling.matmul.format(qtypes[weight])
        case Rope():
            return "rope"
        case StoreKV():
            return ".".join(("store_kv", *kv_types(kv_type)))
        case Attention() as op:
            return ".".join(("attention", *kv_types(kv_type), str(heads_at_once(op))))
        case Glu():
            return f"glu{lines_of}"
        case Add():
            return "add"
        case Select():
            return "select"


def bits(value: float) -> int:
    """A float32 as the integer that a record holds."""
    return int(np.float32(value).view(np.int32))


@dataclass(frozen=True, slots=True)
class Tape:
    """`records` (n_records, 3) int64 as in TAPE; `args` keeps the argument records alive."""

    records: NDArray[np.int64]
    args: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True)
class Recorder:
    """All that the arguments of a model's kernels refer to."""

    graph: Graph
    plan: Plan
    weights: dict[str, Weight]
    kv: KVPages
    kv_type: str
    arena: NDArray[np.uint8]  # (plan.row_bytes * max_rows,)
    partials: NDArray[np.uint8]  # of attention; see layout.ATTENTION
    wide: NDArray[np.uint8]  # (n_threads, n_bytes), of matmuls; see layout.MATMUL_AMX
    max_rows: int
    rope_tables: dict[object, int]  # RopeSpec -> bytes per row before its table
    library: Library

    def tape(self, tiling: Tiling) -> Tape:
        """The tape of steps whose matmuls go by `tiling`."""
        qtypes = {name: weight.qtype for name, weight in self.weights.items()}
        args, records = [], []
        for task in self.plan.tasks:
            record, values = self._arguments(task, tiling)
            array = np.array(list(layout.fill(record, values)), np.int64)
            kernel = self.library.address(kernel_of(task, qtypes, self.kv_type, tiling))
            fields = {"kernel": kernel, "args": address(array), "barrier": int(task.barrier)}
            records.append(list(layout.fill(layout.TAPE, fields)))
            args.append(array)
        return Tape(np.array(records, np.int64), tuple(args))

    def _at(self, value: str, form: str = F32) -> int:
        """Where a value lies; 0 for the logits, whose place the step knows."""
        if value == self.graph.output:
            return 0
        return address(self.arena) + self.plan.slots[value, form] * self.max_rows

    def _weight(self, name: str | None) -> int:
        return self.weights[name].address if name else 0

    def _forms(self, task: Task, value: str, tile: int) -> dict[str, int]:
        return {
            "lines": self._at(value, LINES) if LINES in task.forms else 0,
            "lanes": self._at(value, LANES) if LANES in task.forms else 0,
            "tile": tile,
        }

    def _arguments(self, task: Task, tiling: Tiling) -> tuple[object, dict[str, int]]:
        width = self.graph.widths
        match task.op:
            case Embed() as op:
                return layout.EMBED, {
                    "weights": self._weight(op.table),
                    "n_in": width[op.out],
                    "out": self._at(op.out),
                    "scale": bits(op.scale),
                    "packed": int(self.weights[op.table].packed),
                }
            case Norm() as op:
                return layout.NORM, {
                    "x": self._at(op.x),
                    "weight": self._weight(op.weight),
                    "bias": self._weight(op.bias),
                    "n_in": width[op.x],
                    "group": op.group,
                    "eps": bits(op.eps),
                    "kind": NORM_KINDS[op.kind],
                    "rows_of": int(task.of_logits),
                    "out": self._at(op.out),
                    **self._forms(task, op.out, tiling.rows),
                }
            case HandOver() as op:
                unused = dict.fromkeys(("weight", "bias", "group", "eps", "kind", "out"), 0)
                return layout.NORM, {
                    "x": self._at(op.x),
                    "n_in": width[op.x],
                    "rows_of": int(task.of_logits),
                    **unused,
                    **self._forms(task, op.x, tiling.rows),
                }
            case Linear() as op:
                weight = self.weights[op.weight]
                values = {
                    "weights": weight.address,
                    "x": self._at(op.x, form_for(weight.qtype)),
                    "out": self._at(op.out),
                    "stride": weight.shape[0],
                    "bias": self._weight(op.bias),
                    "residual": self._at(task.residual) if task.residual else 0,
                    "n_in": weight.shape[1],
                    "n_out": weight.shape[0],
                }
                if tiling.in_bf16(task) and form_for(weight.qtype) == LINES:
                    wide = {"wide": address(self.wide), "wide_bytes": self.wide.shape[1]}
                    return layout.MATMUL_AMX, values | wide
                return layout.MATMUL, values | {"rows_of": int(task.of_logits)}
            case Rope() as op:
                return layout.ROPE, {
                    "x": self._at(op.x),
                    "out": self._at(op.out),
                    "n_heads": width[op.x] // op.head_dim,
                    "head_dim": op.head_dim,
                    "rope_dim": op.spec.dim,
                    "neox": int(op.spec.style == "neox"),
                    "table": self.rope_tables[op.spec],
                }
            case StoreKV() as op:
                return layout.STORE_KV, {
                    "k": self._at(op.k),
                    "v": self._at(op.v),
                    "pages": self.kv.addresses[op.layer],
                    "n_kv_heads": op.n_kv_heads,
                    "head_dim": op.head_dim,
                    "page_stride": self.kv.stride,
                }
            case Attention() as op:
                return layout.ATTENTION, {
                    "q": self._at(op.q),
                    "out": self._at(op.out),
                    "pages": self.kv.addresses[op.layer],
                    "n_heads": op.n_heads,
                    "n_kv_heads": op.n_kv_heads,
                    "head_dim": op.head_dim,
                    "page_stride": self.kv.stride,
                    "scale": bits(op.scale),
                    "window": op.window or 0,
                    "softcap": bits(op.softcap or 0.0),
                    "partials": address(self.partials),
                }
            case Glu() as op:
                return layout.GLU, {
                    "gate": self._at(op.gate),
                    "up": self._at(op.up),
                    "n_in": width[op.out],
                    "out": self._at(op.out),
                    "gelu": int(op.act == "gelu"),
                    "rows_of": int(task.of_logits),
                    **self._forms(task, op.out, tiling.rows),
                }
            case Add() as op:
                return layout.ADD, {
                    "a": self._at(op.a),
                    "b": self._at(op.b),
                    "out": self._at(op.out),
                    "n_in": width[op.out],
                    "rows_of": int(task.of_logits),
                }
            case Select() as op:
                return layout.SELECT, {
                    "x": self._at(op.x),
                    "out": self._at(op.out),
                    "n_in": width[op.out],
                }
