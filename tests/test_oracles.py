"""Files that llama.cpp made, and its logits, on every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kernels import nmse
from oracles import TESTS
from steps import logits_of, open_model

from qrt.backends import cpu, reference

NAMES = sorted(path.name.split(".")[0] for path in (TESTS / "data/arch").glob("*.gguf.xz"))


def by_position(got: np.ndarray, expected: np.ndarray) -> float:
    """The median error of a position: where experts are chosen, one may fall to either side."""
    return float(np.median([nmse(a, b) for a, b in zip(got, expected, strict=True)]))


@pytest.mark.parametrize("name", NAMES)
def test_logits(data: Path, name: str) -> None:
    oracle = np.load(data / "arch" / f"{name}.npz")
    model = open_model(data / "arch" / f"{name}.gguf")
    for backend in (reference, cpu):
        got = logits_of(backend, model, oracle["tokens"], kv_type="f16")
        assert by_position(got, oracle["logits"]) < 5e-5
