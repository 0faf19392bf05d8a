"""Models with recurrent layers in service: whatever they share, each answer is as alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import together
from letters import Letters
from served import served

import qrt
from qrt.backends.cpu.profile import work_of
from qrt.graph.batch import PAGE_LEN
from qrt.graph.state import KV
from qrt.tools.describe import describe

HEAD = [5 + i * 37 % 100 for i in range(2 * PAGE_LEN + 70)]
PROMPTS = [[*HEAD[: 40 * i + 30], 3 + i] for i in range(5)]
OPTIONS = {"max_tokens": 20, "temperature": 0, "ignore_eos": True}


@pytest.fixture(params=["qwen35", "lfm2"])
def path(request: pytest.FixtureRequest, data: Path) -> Path:
    return data / "arch" / f"{request.param}-dense.gguf"


@pytest.fixture
def model(path: Path) -> Iterator[qrt.Model]:
    """With so few slots that one generation runs at a time."""
    with qrt.load(path, n_ctx=256, n_threads=1, kv_bytes=0) as one:
        one._core._tokenizer = Letters()
        yield one


def told(answers: qrt.Model | qrt.Session, prompt: list[int], **options: object) -> list[int]:
    return list(answers.generate(prompt, **{**OPTIONS, **options}).tokens)


def test_each_answer_is_as_alone(path: Path, model: qrt.Model) -> None:
    want = [told(model, prompt, cache_prompt=False) for prompt in PROMPTS]
    jobs = [lambda p=p: told(model, p) for p in PROMPTS]
    assert together(jobs) == want
    model._core.engine.check_integrity()
    with qrt.load(path, n_ctx=256, n_threads=1) as roomy:
        roomy._core._tokenizer = Letters()
        done = roomy.generate_many([*PROMPTS, *PROMPTS], **OPTIONS)
        assert [list(one.tokens) for one in done] == want * 2
        longer = [*PROMPTS[-1], *want[-1], 7]
        again = roomy.generate(longer, **OPTIONS)
        assert again.timings.n_cached_tokens == len(longer) - 2
        assert list(again.tokens) == told(model, longer, cache_prompt=False)
        with roomy.session() as session, served(roomy) as server:
            assert told(session, PROMPTS[3]) == want[3]
            with session.fork() as twin:
                assert told(twin, PROMPTS[4]) == want[4]
            assert told(session, PROMPTS[2]) == want[2]
            asked = {"n_predict": 20, "ignore_eos": True, "temperature": 0, "return_tokens": True}
            posts = [lambda p=p: server.ask("/completion", {**asked, "prompt": p}) for p in PROMPTS]
            assert [reply.json["tokens"] for reply in together(posts)] == want
        roomy._core.engine.check_integrity()


def test_a_draft_that_does_not_hold_leaves_no_trace(model: qrt.Model) -> None:
    engine = model._core.engine
    seq = engine.open()
    engine.append(seq, HEAD[:100])
    drafted = engine.verify(seq, HEAD[150:156])
    assert engine.cut(seq, 103) == 100
    rest = [*HEAD[150:153], 9, 8, 7]
    got = engine.append(seq, rest, n_logits=6)
    np.testing.assert_array_equal(got[:3], drafted[:3])
    engine.release(seq)
    alone = engine.append(engine.open(), [*HEAD[:100], *rest], n_logits=6)
    np.testing.assert_array_equal(got, alone)


def test_memory_of_a_sequence_is_told(path: Path, model: qrt.Model) -> None:
    running, info = describe(path).running, model.info
    assert running is not None
    states = [group for group in running.states if not isinstance(group, KV)]
    fixed = sum(len(group.layers) * group.n_bytes for group in states)
    assert 0 < fixed == running.fixed_state_bytes == info.fixed_state_bytes
    assert 0 < info.kv_bytes_per_token == running.kv_bytes_per_token
    assert running.state_bytes(64) == 2 * fixed + 64 * info.kv_bytes_per_token
    for n_rows, start in ((1, 0), (1, 31), (20, 10)):
        work = work_of(model._core.loaded.executor, n_rows, 1, start)
        n_bytes = fixed + (start + n_rows) * info.kv_bytes_per_token
        assert sum(one.state_bytes for one in work) == n_bytes
