"""`qrt profile`: the work it counts, the times it splits up, its table, its trace, its errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.profile import record_s, tape_s, work_of
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.graph.batch import Batch
from qrt.graph.ir import Attention
from qrt.runtime.loader import LoadOptions, load, no_progress
from qrt.tools.describe import describe
from qrt.tools.profile import OpTime, StepProfile

pytestmark = pytest.mark.usefixtures("_quick")

EMBEDDED = model_file(None)
N_LAYERS = 6


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time for the bandwidth of the machine, and kernels compiled: a command tells of that."""
    monkeypatch.setattr("qrt.tools.profile.measure_read_gb_s", lambda *_: 10.0)
    load(EMBEDDED, LoadOptions(n_ctx=64), no_progress).executor.close()


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, args)])


def batch(n_rows: int) -> Batch:
    rows = np.arange(n_rows, dtype=np.int32)
    table = np.array([1, 0], np.int32)
    return Batch(7 * rows + 3, rows, 0 * rows, (table,), rows[-1:])


def test_a_step_in_records_computes_what_a_step_does() -> None:
    executor = load(EMBEDDED, LoadOptions(n_ctx=128, n_threads=2), no_progress).executor
    assert isinstance(executor, CpuExecutor)
    whole = executor.step(batch(100), "prefill").tobytes()
    executor.step(batch(3), "prefill")
    found: list[bytes] = []
    seconds = record_s(
        executor, lambda: found.append(executor.step(batch(100), "prefill").tobytes())
    )
    assert found == [whole]
    assert len(seconds) == len(work_of(executor, "prefill", 100, 1, 0))
    assert min(seconds) >= 0 < max(seconds)

    def fail() -> None:
        raise ZeroDivisionError

    walk = executor.walk
    for measure in (record_s, tape_s):
        with pytest.raises(ZeroDivisionError):
            measure(executor, fail)
        assert executor.walk == walk
    seconds_of_tape, logits = tape_s(executor, lambda: executor.step(batch(100), "prefill"))
    assert 0 < seconds_of_tape < 1
    assert logits.tobytes() == whole
    executor.close()


@pytest.mark.parametrize("window", [None, 1, 40, 64, 500])
def test_attention_reads_each_position_that_any_row_sees(window: int | None) -> None:
    executor = load(EMBEDDED, LoadOptions(n_ctx=256), no_progress).executor
    assert isinstance(executor, CpuExecutor)
    task = next(t for t in executor.recorder.plan.tasks if isinstance(t.op, Attention))
    plan = replace(
        executor.recorder.plan, tasks=(replace(task, op=replace(task.op, window=window)),)
    )
    executor.recorder = replace(executor.recorder, plan=plan)
    running = describe(EMBEDDED).running
    assert running is not None
    for start, n_rows in ((0, 1), (0, 100), (70, 1), (70, 100)):
        (work,) = work_of(executor, "prefill", n_rows, 1, start)
        seen = [
            {p for p in range(row + 1) if window is None or p > row - window}
            for row in range(start, start + n_rows)
        ]
        n_read = len(set().union(*seen))
        assert work.kv_bytes * N_LAYERS == n_read * running.kv_bytes_per_token
        assert work.flops == 4 * sum(map(len, seen)) * task.op.n_heads * task.op.head_dim
    executor.close()


def test_the_table_counts_what_the_model_has() -> None:
    result = invoke("-p", 16, "-n", 3, "-d", 65, "-t", 1, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    profile = json.loads(result.stdout)
    prefill, decode = profile["steps"]
    running = describe(EMBEDDED).running
    assert running is not None
    for step, n_rows, depth in ((prefill, 16, 65), (decode, 1, 66)):
        assert (step["n_rows"], step["depth"]) == (n_rows, depth)
        whole = step["rest"][-1]
        assert whole["weight_bytes"] == pytest.approx(running.weight_bytes_per_token, rel=0.02)
        assert whole["kv_bytes"] == (depth + n_rows) * running.kv_bytes_per_token
        calls = {(op["kind"], op["name"]): op["calls"] for op in step["ops"]}
        assert calls["Linear", "ffn_gate"] == calls["Attention", "attn"] == N_LAYERS
        assert sum(calls.values()) == whole["calls"]
        (kind,) = (k for k in step["kinds"] if k["kind"] == "Linear")
        linears = [op for op in step["ops"] if op["kind"] == "Linear"]
        assert 0 < step["tape_s"] < step["step_s"]
        for field in ("calls", "seconds", "weight_bytes", "flops"):
            assert kind[field] == pytest.approx(sum(op[field] for op in linears))
    by_name = {op["name"]: op for op in decode["ops"]}
    gate = by_name["ffn_gate"]
    assert gate["kernel"] == "matmul.Q8_0.1"
    assert gate["flops"] / gate["weight_bytes"] == pytest.approx(2 * 32 / 34)
    assert gate["read_percent"] == pytest.approx(10 * gate["gb_s"])
    assert by_name["attn_norm"]["read_percent"] is None
    prompt_gate = next(op for op in prefill["ops"] if op["name"] == "ffn_gate")
    assert prompt_gate["flops"] == 16 * gate["flops"]
    assert prompt_gate["weight_bytes"] == gate["weight_bytes"]


def test_barriers_and_python_are_what_is_left() -> None:
    records = (OpTime("Linear", "blk.0.q.weight", "m", 1, 2.0, 8, 0, 64),) + 2 * (
        OpTime("Linear", "blk.1.q.weight", "m", 1, 1.0, 8, 4, 64),
    )
    step = StepProfile("decode", 1, 0, 3, 10.0, 7.0, records)
    assert step.ops == [OpTime("Linear", "q", "m", 3, 4.0, 24, 8, 192)]
    barriers, python, whole = step.rest
    assert (barriers.seconds, python.seconds) == (3.0, 3.0)
    assert (whole.calls, whole.seconds, whole.n_bytes) == (3, 10.0, 32)
    assert whole.gb_s == pytest.approx(3.2e-9)
    assert step.ops[0].memory_bound


def test_one_table_and_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    result = invoke("-p", 8, "-n", 2, "-t", 2, "--trace", path)
    assert (result.exit_code, result.stderr) == (0, "")
    _, empty, *table = result.stdout.splitlines()
    assert empty == ""
    assert len({len(line) for line in table}) == 1
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert {row[0] for row in rows} == {"pp8", "tg1 @ d1"}
    assert [row[1] for row in rows[-3:]] == ["barriers", "python", "step"]
    assert rows[-1][6] == "100.0"

    events = json.loads(path.read_text())["traceEvents"]
    for process, phase in enumerate(("prefill", "decode")):
        title, *records = (event for event in events if event["pid"] == process)
        assert title["args"]["name"].startswith(phase)
        end = 0.0
        for event in records:
            assert (event["ph"], event["ts"]) == ("X", pytest.approx(end))
            assert event["args"].keys() == {"kernel", "bytes", "gb_s", "flops", "gflop_s"}
            end = event["ts"] + event["dur"]
        assert sum(event["name"] == "blk.5.ffn_down.weight" for event in records) == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--backend", "reference"], 2, "only the cpu backend has a profile"),
        (["-p", "0", "-n", "0"], 2, "nothing to profile"),
        (["-p", "-1"], 2, "n_prompt must be between 0"),
        (["-p", "400", "-d", "200"], 2, "the model was trained for 512"),
        (["-o", "csv"], 2, "-o must be one of md, json"),
        (["-n", "1", "-p", "0", "--trace", "/nowhere/x"], 2, "'/nowhere/x': cannot be written"),
        (["none.gguf"], 3, "none.gguf: no such file"),
    ],
)
def test_bad_input(args: list[str], code: int, message: str) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
    assert message in result.stderr
