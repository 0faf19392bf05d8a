"""Model files whose packed weights are kept, in a folder of the test's own."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from oracles import TOKENS
from steps import prepare, segment, step

from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.backends.cpu import keeping
from qrt.backends.cpu.guard import guard_kernels
from qrt.backends.cpu.packing import Panels
from qrt.config import cache_dir
from qrt.formats.gguf import open_gguf

needs_guard = pytest.mark.skipif(not guard_kernels(), reason="nothing is mapped")


@pytest.fixture
def model_file(data: Path, tmp_path: Path) -> Path:
    """A model file that a test may change."""
    return Path(shutil.copy2(data / "quant" / "llama-Q4_K.gguf", tmp_path / "m.gguf"))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of packed weights, not there yet; every start keeps them."""
    load = keeping.load_kernels
    monkeypatch.setattr(keeping, "cache_dir", lambda _: tmp_path)
    monkeypatch.setattr(
        keeping, "load_kernels", lambda names, tier, _, *rest: load(names, tier, cache_dir(), *rest)
    )
    monkeypatch.setenv("QRT_PACK_CACHE", "1")
    return tmp_path / "packed"


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the weights that were packed, not mapped."""
    names: list[str] = []
    make = Panels.make

    def spy(self, *args):
        names.append(self._tensor.name)
        make(self, *args)

    monkeypatch.setattr(Panels, "make", spy)
    return names


def run(path: Path, **settings: Any) -> bytes:
    """Starts a model and runs one step."""
    file = open_gguf(path)
    graph = build_graph(file.metadata, file.tensors, str(path))
    with closing(prepare(cpu, (graph, file.tensors), file=file, **settings)) as model:
        return step(model, segment(TOKENS)).tobytes()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
