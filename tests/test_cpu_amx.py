"""Whole models whose prefill multiplies by bf16 tiles, on the best tier that this machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_cpu_backend as backend
from kernels import BEST, nmse
from test_cpu_backend import TOKENS, prepare, steps

from qrt.backends.cpu import executor
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.profile import work_of
from qrt.kernels.isa import TIERS


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    tier = replace(TIERS[BEST], tiles=True)
    monkeypatch.setattr(executor, "choose", lambda _: tier)


test_quantized_weights = backend.test_quantized_weights
test_plain_weights = backend.test_plain_weights
test_chunks_and_threads_do_not_show = backend.test_chunks_and_threads_do_not_show
test_sequences_in_one_batch_do_not_meet = backend.test_sequences_in_one_batch_do_not_meet
test_only_the_rows_asked_for_get_logits = backend.test_only_the_rows_asked_for_get_logits


@pytest.mark.parametrize("name", ["Q4_0", "Q6_K"])
def test_prefill_is_more_exact_and_decode_as_before(
    data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, oracle = data / "quant" / f"llama-{name}.gguf", data / "quant" / f"llama-{name}.npz"
    model = prepare(path)
    prefilled = steps(model, TOKENS, len(TOKENS), "prefill")
    decoded = steps(model, TOKENS, 1, "decode")
    model.close()
    want = np.load(oracle)["logits"]
    assert nmse(prefilled, want) < 0.5 * nmse(decoded, want)
    plain = replace(TIERS[BEST], tiles=False)
    monkeypatch.setattr(executor, "choose", lambda _: plain)
    model = prepare(path)
    assert steps(model, TOKENS, 1, "decode").tobytes() == decoded.tobytes()
    model.close()


def test_logit_rows_and_plain_weights_keep_their_kernels(data: Path) -> None:
    model = prepare(data / "quant" / "llama-Q4_K.gguf")
    assert isinstance(model, CpuExecutor)
    kernels = [work.kernel for work in work_of(model, "prefill", 5, 1, 0)]
    model.close()
    assert kernels[-1].startswith("matmul.Q")
    assert "matmul_amx.Q4_K" in kernels
    assert {k for k in kernels if k.startswith("norm")} == {"norm", "norm.bf16"}
