"""`qrt profile`: the work it counts, the times it splits up, its table, trace, plot and errors."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from qrt.backends.base import Choices
from qrt.backends.cpu.ceilings import Ceilings
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.profile import StepClock
from qrt.backends.cpu.tuning import Tuning
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.formats.gguf import open_gguf
from qrt.progress import no_progress
from qrt.runtime.loader import LoadOptions, load
from qrt.tools.describe import describe
from qrt.tools.op_times import OpTime, Profile, Size, StepProfile
from qrt.tools.roofline import png

pytestmark = pytest.mark.usefixtures("_quick")

EMBEDDED = model_file(None)
with open_gguf(EMBEDDED) as _file:
    N_LAYERS = _file.metadata["llama.block_count"]
PREPARE = sys.modules["qrt.backends.cpu.prepare"]
CEILINGS = Ceilings(10.0, {"int8": 400.0, "f32": 100.0})


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time for the ceilings of the machine, and kernels compiled: a command tells of that."""
    monkeypatch.setattr("qrt.tools.profile.measure_ceilings", lambda *_: CEILINGS)
    executor = load(EMBEDDED, LoadOptions(n_ctx=64), no_progress).executor
    assert isinstance(executor, CpuExecutor)
    StepClock(executor, no_progress)
    executor.close()


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, args)])


def test_each_phase_is_profiled_on_its_own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices(prefill_rows=96, prefill_threads=1, decode_threads=3)
    tuning = Tuning("tuned", "", "", choices)
    monkeypatch.setattr(PREPARE, "read_tuning", lambda *_: tuning)
    result = invoke("-n", 3, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    profile = json.loads(result.stdout)
    found = [(step["n_rows"], step["n_threads"]) for step in profile["steps"]]
    assert (profile["n_threads"], found) == (3, [(96, 1), (1, 3)])


def test_the_table_counts_what_the_model_has() -> None:
    result = invoke("-p", 16, "-n", 3, "-d", 65, "-t", 1, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    profile = json.loads(result.stdout)
    prefill, decode = profile["steps"]
    running = describe(EMBEDDED).running
    assert running is not None
    for step, n_rows, depth in ((prefill, 16, 65), (decode, 1, 66)):
        assert (step["n_rows"], step["depth"]) == (n_rows, depth)
        whole = step["totals"][-1]
        assert whole["weight_bytes"] == pytest.approx(running.weight_bytes_per_token, rel=0.02)
        assert whole["state_bytes"] == (depth + n_rows) * running.kv_bytes_per_token
        calls = {(op["kind"], op["name"]): op["calls"] for op in step["ops"]}
        assert calls["Linear", "ffn_gate"] == calls["Attention", "attn"] == N_LAYERS
        assert sum(calls.values()) == whole["calls"]
        (kind,) = (k for k in step["kinds"] if k["kind"] == "Linear")
        linears = [op for op in step["ops"] if op["kind"] == "Linear"]
        for field in ("calls", "seconds", "wait_s", "weight_bytes", "flops", "memory_s"):
            assert kind[field] == pytest.approx(sum(op[field] for op in linears))
        tape, python, whole = step["totals"]
        assert tape["seconds"] == pytest.approx(sum(op["seconds"] for op in step["ops"]))
        assert whole["seconds"] == step["step_s"] > tape["seconds"] > tape["wait_s"] > 0
        assert python["seconds"] == pytest.approx(whole["seconds"] - tape["seconds"])
    by_name = {op["name"]: op for op in decode["ops"]}
    gate = by_name["ffn_gate"]
    assert gate["kernel"] == "matmul.Q8_0.1"
    assert gate["flops"] / gate["weight_bytes"] == pytest.approx(2 * 32 / 34)
    assert (gate["bound"], gate["limit_percent"]) == ("memory", pytest.approx(10 * gate["gb_s"]))
    norm = by_name["attn_norm"]
    assert (norm["bound"], norm["limit_percent"], norm["memory_s"]) == (None, None, 0)
    prompt_gate = next(op for op in prefill["ops"] if op["name"] == "ffn_gate")
    assert prompt_gate["flops"] == 16 * gate["flops"]
    assert prompt_gate["weight_bytes"] == gate["weight_bytes"]
    assert (profile["read_gb_s"], profile["gflop_s"]) == (10, {"int8": 400, "f32": 100})


@pytest.mark.parametrize(
    ("n_rows", "bound", "limit_s"), [(1, "memory", 34 / 32 / 10), (64, "compute", 2 * 64 / 400)]
)
def test_the_limit_is_the_roofline(n_rows: int, bound: str, limit_s: float) -> None:
    """A matmul of int8 weights, and attention, which is done in float32."""
    result = invoke("-p", n_rows, "-n", 0, "-t", 1, "-o", "json")
    ops = {op["name"]: op for op in json.loads(result.stdout)["steps"][0]["ops"]}
    gate, attention = ops["ffn_gate"], ops["attn"]
    limit_s *= gate["flops"] / (2 * n_rows) / 1e9
    assert gate["bound"] == bound
    assert gate["memory_s"] + gate["compute_s"] == pytest.approx(limit_s)
    assert gate["limit_percent"] == pytest.approx(100 * limit_s / gate["seconds"])
    least = max(attention["state_bytes"] / 10e9, attention["flops"] / 100e9)
    assert attention["memory_s"] + attention["compute_s"] == pytest.approx(least)


def test_totals_add_up() -> None:
    fields = {"weight_bytes": 8, "flops": 64, "wait_s": 0.5}
    records = (
        OpTime("Linear", "blk.0.q.weight", "m", 1, 2.0, memory_s=1.5, **fields),
        OpTime("Linear", "blk.1.q.weight", "m", 1, 1.0, compute_s=0.25, state_bytes=4, **fields),
        OpTime("Norm", "blk.1.norm.weight", "n", 1, 1.0, weight_bytes=2),
    )
    step = StepProfile("decode", 1, 7, 2, 3, 10.0, records)
    assert step.title == "tg1 @ d7"
    linear, norm = step.ops
    assert (linear.name, linear.calls, linear.seconds, linear.wait_s) == ("q", 2, 3.0, 1.0)
    assert (linear.bound, linear.limit_percent) == ("memory", pytest.approx(100 * 1.75 / 3))
    assert (norm.bound, norm.limit_percent) == (None, None)
    tape, python, whole = step.totals
    assert (tape.seconds, python.seconds, whole.seconds) == (4.0, 6.0, 10.0)
    assert (whole.calls, whole.wait_s, whole.n_bytes) == (3, 1.0, 22)
    assert whole.gb_s == pytest.approx(2.2e-9)
    assert whole.limit_percent == pytest.approx(17.5)


def test_a_plot_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "roofline.png"
    result = invoke("-p", 8, "-n", 2, "--plot", path)
    assert (result.exit_code, result.stderr) == (0, "")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_the_plot_names_every_op_and_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.text import Text

    shown: set[tuple[str, object, float]] = set()

    def draw(text: Text, _: object) -> None:
        shown.add((text.get_text().strip(), text.get_color(), text.get_position()[1]))

    monkeypatch.setattr(Text, "draw", draw)
    op = OpTime("Linear", "blk.0.q.weight", "m", 1, 1.0, weight_bytes=10, flops=640, memory_s=0.5)
    other = replace(op, name="blk.0.k.weight")
    free = OpTime("Rope", "free", "rope", 1, 1.0)
    steps = [
        StepProfile(phase, n, 0, 2, 3, 9.0, (op, other, free))
        for phase, n in (("prefill", 16), ("decode", 1))
    ]
    png(Profile("some/model.gguf", 2, "f16", Size(9, 5, 40, 20), CEILINGS, tuple(steps)))
    texts = [text for text, *_ in shown]
    assert sorted(text for text in texts if "%" in text) == ["k 50%", "k 50%", "q 50%", "q 50%"]
    heights = sorted({y for text, _, y in shown if "%" in text})
    assert heights == [pytest.approx(6.4e-7, rel=0.9), 6.4e-7]  # one below the other
    for label in ("model.gguf, 2 threads", "read 10.0 GB/s", "int8 400 GFLOP/s", "pp16", "tg1"):
        assert label in texts


def test_a_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = invoke("--plot", "x.png")
    message = "error: --plot needs matplotlib, which is not installed: pip install 'qrt[plot]'\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


def test_one_table_and_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    result = invoke("-p", 8, "-n", 2, "-t", 2, "--trace", path)
    assert (result.exit_code, result.stderr) == (0, "")
    _, size, ceilings, empty, *table = result.stdout.splitlines()
    assert re.fullmatch(r"[1-9]\S+ parameters in [1-9].+; a token needs (\S+) of them, .+", size)
    assert ceilings.endswith("read 10.00 GB/s, 400 GFLOP/s int8, 100 GFLOP/s f32")
    assert empty == ""
    assert len({len(line) for line in table}) == 1
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert {row[0] for row in rows} == {"pp8", "tg1 @ d1"}
    assert [row[1] for row in rows[-3:]] == ["tape", "python", "step"]
    assert rows[-1][6] == "100.0"
    (gate,) = (row for row in rows if row[:3] == ["tg1 @ d1", "Linear", "ffn_gate"])
    assert (gate[-2], float(gate[-1]) > 0) == ("memory", True)

    events = json.loads(path.read_text())["traceEvents"]
    for process, phase in enumerate(("prefill", "decode")):
        title, *records = (event for event in events if event["pid"] == process)
        assert title["args"]["name"].startswith(phase)
        end = 0.0
        for event in records:
            assert (event["ph"], event["ts"]) == ("X", pytest.approx(end))
            assert event["args"].keys() == {
                *("kernel", "bytes", "gb_s", "flops", "gflop_s", "wait_us", "bound"),
                "limit_percent",
            }
            end = event["ts"] + event["dur"]
        last_down = f"blk.{N_LAYERS - 1}.ffn_down.weight"
        assert sum(event["name"] == last_down for event in records) == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--backend", "reference"], 2, "only the cpu backend has a profile"),
        (["-p", "0", "-n", "0"], 2, "nothing to profile"),
        (["-p", "-1"], 2, "n_prompt must be between 0"),
        (["-p", "400", "-d", "200"], 2, "the model was trained for 512"),
        (["-o", "csv"], 2, "-o must be one of md, json"),
        (["-n", "1", "-p", "0", "--trace", "/nowhere/x"], 2, "'/nowhere/x': cannot be written"),
        (["-n", "1", "-p", "0", "--plot", "/nowhere/x"], 2, "'/nowhere/x': cannot be written"),
        (["none.gguf"], 3, "none.gguf: no such file"),
    ],
)
def test_bad_input(args: list[str], code: int, message: str) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
    assert message in result.stderr
