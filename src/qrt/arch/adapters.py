"""Low-rank adapters (Hu et al. 2021) in GGUF files: what one is for, and how much it changes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import WEIGHT_TYPES
from qrt.formats.quants.f32 import F32
from qrt.graph.graph import Graph
from qrt.graph.ops.add_types import AddTypes

EMBEDDING = "token_embd.weight"
"""A table, whose columns the second matrix makes of rows of the first."""
MAX_RANK = 2048
MAX_ALPHA = 1e6

_DOWN, _UP = ".lora_a", ".lora_b"
_NORM = "_norm.weight"


@dataclass(frozen=True, slots=True)
class LowRank:
    """What is added to a weight: `factor` times the product of a narrow and a wide matrix.

    a (rank, in), b (out, rank); of experts one of each behind the other. For a table of `rows`
    a is (rows, rank), one row for each of its own.
    """

    a: QTensor
    b: QTensor
    rank: int
    factor: float
    is_table: bool
    where: str

    def down(self) -> NDArray[np.float32]:
        """What rows of activations meet first, (..., rank, in)."""
        return self._values(self.b).T if self.is_table else self._values(self.a)

    def up(self) -> NDArray[np.float32]:
        """What that meets, (..., out, rank)."""
        return self._values(self.a if self.is_table else self.b)

    def _values(self, tensor: QTensor) -> NDArray[np.float32]:
        """Raises ArchError for NaN and infinities, which rows without the adapter would see."""
        values = tensor.dequantize()
        if not (math.isfinite(values.max(initial=0)) and math.isfinite(values.min(initial=0))):
            problem = "expected finite values, got NaN or infinities; the file is damaged"
            raise ArchError(f"{self.where}: tensor {tensor.name!r}: {problem}")
        return values


def read_adapter(
    metadata: Mapping[str, object], tensors: Mapping[str, QTensor], where: str, graph: Graph
) -> dict[str, LowRank]:
    """What an adapter adds to each weight of `graph`, by the weight's name.

    The gate for adapter files: whatever passes it fits. `where` names the file in messages. Norms
    that it holds are left out, as others do. Raises ArchError: a file that is no LoRA adapter, or
    one for another architecture; a tensor that is missing, misshapen, in an unfit format, or
    belongs to no matrix of the model.
    """
    _check_kind(metadata, where, graph.arch)
    alpha = _alpha(metadata, where)
    found: dict[str, LowRank] = {}
    for name in dict.fromkeys(_target(tensor, where) for tensor in tensors):
        if name is None:
            continue
        if name not in graph.weights:
            raise ArchError(
                f"{where}: tensor {name!r}, which it adapts, is not in the model; is the adapter "
                "for another?"
            )
        pair = [tensors.get(name + suffix) for suffix in (_DOWN, _UP)]
        for suffix, tensor in zip((_DOWN, _UP), pair, strict=True):
            if tensor is None:
                raise ArchError(f"{where}: tensor {name + suffix!r} is missing")
        a, b = (tensor for tensor in pair if tensor is not None)
        found[name] = _low_rank(name, a, b, alpha, where, graph.weights[name])
    if not found:
        raise ArchError(f"{where}: the adapter has no tensors that it could add")
    return _with_types(found, graph)


def _with_types(found: dict[str, LowRank], graph: Graph) -> dict[str, LowRank]:
    """What is added to a table of one type, which every token has, as one more rank of the
    embedding: its column is ones.
    """
    tables = [op.table for op in graph.ops if isinstance(op, AddTypes) and op.n_rows == 1]
    for types in (found.pop(table) for table in tables if table in found):
        row = types.up().astype(np.float64) @ types.down() * types.factor  # (1, dim)
        n_vocab, dim = graph.weights[EMBEDDING]
        own = found.get(EMBEDDING)
        up = np.zeros((n_vocab, 0)) if own is None else own.up()
        down = np.zeros((0, dim)) if own is None else own.down()
        factor = 1.0 if own is None else own.factor
        a = np.concatenate([up, np.ones((n_vocab, 1))], axis=1)
        b = np.concatenate([down, row / factor]).T
        pair = (_tensor(types.a.name, a), _tensor(types.b.name, b))
        found[EMBEDDING] = LowRank(*pair, a.shape[1], factor, True, types.where)
    return found


def _tensor(name: str, values: NDArray[np.floating]) -> QTensor:
    raw = np.ascontiguousarray(values, "<f4").view(np.uint8).ravel()
    return QTensor(name, F32, values.shape, raw)


def _check_kind(metadata: Mapping[str, object], where: str, arch: str) -> None:
    for key, expected in (
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
        ("general.architecture", arch),
    ):
        value = metadata.get(key)
        if value != expected:
            got = repr(value[:64]) if isinstance(value, str) else "nothing that says so"
            whose = ", the model's" if key == "general.architecture" else ", a LoRA adapter"
            raise ArchError(f"{where}: key {key!r}: expected {expected!r}{whose}, got {got}")
    for key in metadata:
        if key.startswith("adapter.alora."):
            raise ArchError(
                f"{where}: key {key!r}: an adapter that begins at an invocation (aLoRA) is not "
                "supported; expected one that holds for whole prompts"
            )


def _alpha(metadata: Mapping[str, object], where: str) -> float:
    """What products are scaled by, over their rank; 0 where the file does not say."""
    value = metadata.get("adapter.lora.alpha", 0.0)
    if type(value) is not float or not abs(value) <= MAX_ALPHA:
        expected = f"a number from {-MAX_ALPHA:g} to {MAX_ALPHA:g}"
        raise ArchError(
            f"{where}: key 'adapter.lora.alpha': expected {expected}, got {value!r:.64}"
        )
    return value


def _target(tensor: str, where: str) -> str | None:
    """The weight that a tensor of an adapter is for; None for a norm."""
    if tensor.endswith(_NORM):
        return None
    if not tensor.endswith((_DOWN, _UP)):
        expected = f"a name that ends with {_DOWN} or {_UP}"
        raise ArchError(f"{where}: tensor {tensor!r}: expected {expected}")
    return tensor[: -len(_DOWN)]


def _low_rank(
    name: str, a: QTensor, b: QTensor, alpha: float, where: str, shape: tuple[int, ...]
) -> LowRank:
    if len(shape) not in (2, 3):
        raise ArchError(f"{where}: tensor {a.name!r}: {name!r} is no matrix, expected one")
    is_table = name == EMBEDDING
    *experts, n_out, n_in = shape
    rank = b.shape[-1]
    if not 1 <= rank <= MAX_RANK:
        raise ArchError(
            f"{where}: tensor {b.name!r}: expected a rank from 1 to {MAX_RANK}, got {rank}"
        )
    wanted = ((n_out, rank), (n_in, rank)) if is_table else ((rank, n_in), (n_out, rank))
    for tensor, own in zip((a, b), wanted, strict=True):
        expected, got = (*experts, *own), tuple(tensor.shape)
        if (1,) * (len(expected) - len(got)) + got != expected:
            raise ArchError(
                f"{where}: tensor {tensor.name!r}: expected shape {expected}, got {got}"
            )
        if tensor.qtype not in WEIGHT_TYPES:
            types = ", ".join(qtype.name for qtype in WEIGHT_TYPES)
            raise ArchError(
                f"{where}: tensor {tensor.name!r}: expected one of {types}, got {tensor.qtype.name}"
            )
    return LowRank(a, b, rank, alpha / rank if alpha else 1.0, is_table, where)
