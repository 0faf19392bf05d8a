"""Whole models whose prefill multiplies by bf16 tiles, on the best tier that this machine has."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_cpu_backend as backend
from kernels import TILED, nmse
from oracles import TOKENS
from steps import in_chunks, prepare, segment, step

from qrt.backends import cpu
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.profile import work_of
from qrt.kernels.isa import TIERS


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    tier = replace(TIERS[TILED], tiles=True)
    monkeypatch.setattr(backend.preparing, "choose", lambda _: tier)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_1", "Q2_K", "Q6_K", "IQ2_XS"])
def test_quantized_weights(data: Path, name: str) -> None:
    backend.test_quantized_weights(data, name)


test_plain_weights = backend.test_plain_weights


@pytest.mark.parametrize("name", ["quant/llama-Q4_K", "quant/llama-F32", "arch/qwen3-dense"])
def test_threads_chunks_and_neighbours_do_not_show(data: Path, name: str) -> None:
    """As long as all steps have many rows, or few: bf16 lines differ from quantized ones."""
    tokens = np.tile(TOKENS, 3)
    other = segment(TOKENS[::-1], 0, (7, 6))
    found = set()
    for n_threads in (1, 3):
        with closing(prepare(cpu, data / f"{name}.gguf", n_threads=n_threads)) as model:
            for chunk in (144, 48, 36):
                found.add(in_chunks(model, tokens, chunk).tobytes())
            beside = step(model, other, segment(tokens[:96]))[48:]
            found.add(np.concatenate([beside, step(model, segment(tokens[96:], 96))]).tobytes())
            some = [0, 5, 6, 31, 143]
            every = np.frombuffer(next(iter(found)), np.float32).reshape(144, -1)
            assert step(model, segment(tokens, logit_rows=some)).tobytes() == every[some].tobytes()
    assert len(found) == 1


@pytest.mark.parametrize("name", ["Q4_0", "Q6_K"])
def test_prefill_is_more_exact_and_decode_as_before(
    data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, oracle = data / "quant" / f"llama-{name}.gguf", data / "quant" / f"llama-{name}.npz"
    with closing(prepare(cpu, path)) as model:
        prefilled, decoded = (in_chunks(model, TOKENS, chunk) for chunk in (len(TOKENS), 1))
    want = np.load(oracle)["logits"]
    assert nmse(prefilled, want) < 0.5 * nmse(decoded, want)
    plain = replace(TIERS[TILED], tiles=False)
    monkeypatch.setattr(backend.preparing, "choose", lambda _: plain)
    with closing(prepare(cpu, path)) as model:
        assert in_chunks(model, TOKENS, 1).tobytes() == decoded.tobytes()


def test_logit_rows_and_plain_weights_keep_their_kernels(data: Path) -> None:
    with closing(prepare(cpu, data / "quant" / "llama-Q4_K.gguf")) as model:
        assert isinstance(model, CpuExecutor)
        kernels = [work.kernel for work in work_of(model, 33, 1, 0)]
        few = {work.kernel.split(".")[0] for work in work_of(model, 32, 1, 0)}
    assert kernels[-1].startswith("matmul.Q")
    assert "matmul_amx.Q4_K" in kernels
    assert {k for k in kernels if k.startswith("norm")} == {"norm", "norm.bf16"}
    assert "matmul_amx" not in few
