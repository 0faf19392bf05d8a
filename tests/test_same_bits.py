"""Logits depend on the tokens before them alone: not on chunks, neighbours, tiles or phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kernels import BEST, RUNNABLE
from oracles import MODEL_TYPES, N_VOCAB, TOKENS
from steps import in_chunks, prepare, segment, step

from qrt.backends import cpu
from qrt.backends.cpu.executor import CpuExecutor
from qrt.formats.cache_types import CACHE_TYPES
from qrt.kernels.isa import TIERS

pytestmark = pytest.mark.usefixtures("lab")

PROMPT = np.resize(TOKENS[::-1], 200)
ONE_BY_ONE, VERIFIED = (9, 47, 21), 6
IN_MEMORY = f"{RUNNABLE[0]} tiles"
"""A tier without tile registers that runs the matmuls of one that has them."""
CASES = [
    *((f"quant/llama-{name}", "f16", BEST) for name in MODEL_TYPES),
    *((f"quant/llama-{name}", "q8_0,q4_0", BEST) for name in ("F16", "Q4_K", "Q8_0")),
    *(
        (f"arch/{name}-dense", kv, BEST)
        for name in ("llama", "qwen2", "qwen3")
        for kv in CACHE_TYPES
    ),
    *(("quant/llama-Q5_K", "q8_0,f16", tier) for tier in (*RUNNABLE[:-1], IN_MEMORY)),
]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def model(
    data: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CpuExecutor]:
    """A model of each format, type of cache and tier, with room for 7 sequences."""
    path, kv_type, tier = request.param
    monkeypatch.setenv("QRT_ISA", tier.partition(" ")[0])
    if tier == IN_MEMORY:
        tiled = replace(TIERS[RUNNABLE[0]], prefill=TIERS["amx"].prefill)
        monkeypatch.setitem(TIERS, RUNNABLE[0], tiled)
    with closing(
        prepare(cpu, data / f"{path}.gguf", kv_type=kv_type, capacities=(12,), max_rows=256)
    ) as one:
        yield one


def test_prefill_decode_and_mixed_steps_give_the_same_bits(model: CpuExecutor) -> None:
    prompt = in_chunks(model, PROMPT, len(PROMPT))
    short = in_chunks(model, TOKENS, len(TOKENS))
    for chunk in (1, 2, 4, 8, 33, 39):
        assert in_chunks(model, TOKENS, chunk).tobytes() == short.tobytes(), chunk
    for chunk in (16, 150):
        assert in_chunks(model, PROMPT, chunk).tobytes() == prompt.tobytes(), chunk
    assert in_chunks(model, PROMPT[:100], 32).tobytes() == prompt[:100].tobytes()

    # three sequences decode, one verifies rows that were guessed, and the prompt comes along
    decoding = [segment([TOKENS[at]], at, [6 + i]) for i, at in enumerate(ONE_BY_ONE)]
    start = len(TOKENS) - VERIFIED
    verified = segment(TOKENS[start:], start, [9])
    for i, at in enumerate(ONE_BY_ONE):
        step(model, segment(TOKENS[:at], 0, [6 + i], []))
    step(model, segment(TOKENS[:start], 0, [9], []))
    some = [0, 7, 31, 32, 64, 150, 199]
    want = np.concatenate([short[[*ONE_BY_ONE]], short[start:], prompt[some]])
    both = step(model, *decoding, verified, segment(PROMPT, logit_rows=some))
    assert both.tobytes() == want.tobytes()
    few = step(model, *decoding, verified)
    assert few.tobytes() == want[: len(few)].tobytes()
    alone = step(model, segment(PROMPT[32:], 32, logit_rows=[118, 167]))
    assert alone.tobytes() == prompt[[150, 199]].tobytes()


def test_a_copied_page_goes_on_as_the_first(model: CpuExecutor) -> None:
    """A sequence that shares a page with another copies it before it writes to it."""
    want = in_chunks(model, TOKENS, len(TOKENS))
    step(model, segment(TOKENS[:20], 0, [6]))
    model.copy_page(0, 6, 7)
    other = step(model, segment((TOKENS[20:] + 1) % N_VOCAB, 20, [6]))
    assert other.tobytes() != want[20:].tobytes()
    assert step(model, segment(TOKENS[20:], 20, [7])).tobytes() == want[20:].tobytes()
