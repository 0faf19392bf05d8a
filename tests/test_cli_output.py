"""How answers and measurements are written: Markdown in a terminal, the formats of bench."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import qrt
from qrt.backends.cpu.ceilings import measure_read_gb_s
from qrt.cli import bench_output
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.cli.bench import numbers
from qrt.cli.output import AnswerWriter, byte_size, printable
from qrt.cli.progress import shown_progress
from qrt.tools.bench import BenchResult, BenchTest
from qrt.tools.describe import describe

LLAMA_BENCH_KEYS = {
    *("model_filename", "model_type", "model_size", "model_n_params", "cpu_info", "backends"),
    *("n_threads", "type_k", "type_v", "n_prompt", "n_gen", "n_depth", "test_time"),
    *("avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts"),
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_model_cannot_send_commands_to_the_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert printable("a\x1b]0;owned\x07\x9b2Jb\tc\n") == "a]0;owned2Jb\tc\n"
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        writer = AnswerWriter(out)
        writer.write("a\x1b[2J")
        writer.write("b")
        writer.end()
    assert terminal.getvalue() == "a[2Jb\n"
    assert pipe.getvalue() == "a\x1b[2Jb\n"


def test_sizes():
    assert [byte_size(n) for n in (999, 1000, 1_570_000, 7 * 10**9)] == [
        *("999 bytes", "1.00 kB", "1.57 MB", "7.00 GB"),
    ]


def test_lists_of_numbers():
    assert numbers("-t", "1,2") == (1, 2)
    assert numbers("-t", "1-3,8") == (1, 2, 3, 8)
    assert numbers("-t", "1-8*2") == (1, 2, 4, 8)
    assert numbers("-d", "0-4096+2048") == (0, 2048, 4096)


RESULT = BenchResult(
    model_filename="m.gguf",
    model_type="llama 1B Q4_0",
    model_size=2**20,
    model_n_params=1_235_814_400,
    backend="cpu",
    n_threads=2,
    kv_type="f16",
    max_rows=512,
    test=BenchTest(n_prompt=0, n_gen=100, n_depth=4096),
    test_time="2026-01-01T00:00:00Z",
    samples_ns=(1_000_000_000, 3_000_000_000),
    bytes_per_token=10**8,
    read_gb_s=20.0,
)


def test_figures_of_a_measurement():
    record = bench_output.record(RESULT)
    assert record.keys() >= LLAMA_BENCH_KEYS
    assert record["samples_ts"] == pytest.approx([100, 100 / 3])
    assert record["avg_ns"] == 2_000_000_000
    assert record["stddev_ns"] == pytest.approx(2**0.5 * 1e9)
    assert record["avg_ts"] == pytest.approx(200 / 3)
    assert record["gb_s"] == pytest.approx(20 / 3)
    assert record["read_percent"] == pytest.approx(100 / 3)
    assert (record["type_k"], record["type_v"]) == ("f16", "f16")
    apart = bench_output.record(replace(RESULT, kv_type="q8_0,q4_0"))
    assert (apart["type_k"], apart["type_v"]) == ("q8_0", "q4_0")
    prompt = bench_output.record(replace(RESULT, test=BenchTest(512, 0, 0), samples_ns=(10**9,)))
    assert (prompt["avg_ts"], prompt["stddev_ts"], prompt["gb_s"]) == (512, 0, None)


def test_test_names_are_those_of_llama_bench():
    tests = [BenchTest(512, 0, 0), BenchTest(0, 128, 0), BenchTest(0, 128, 4096)]
    assert [test.name for test in tests] == ["pp512", "tg128", "tg128 @ d4096"]


def test_every_format_holds_the_same():
    results = [RESULT, replace(RESULT, n_threads=1)]
    wanted = [bench_output.record(result) for result in results]
    assert json.loads("\n".join(bench_output.as_json(results))) == wanted
    assert json.loads("".join(bench_output.as_json([]))) == []
    assert [json.loads(line) for line in bench_output.as_jsonl(results)] == wanted
    rows = list(csv.DictReader(bench_output.as_csv(results)))
    assert [row["n_threads"] for row in rows] == ["2", "1"]
    assert float(rows[0]["avg_ts"]) == wanted[0]["avg_ts"]
    title, rule, *lines = bench_output.as_markdown(results)
    assert [cell.strip() for cell in title.split("|")[1:8]] == [
        *("model", "size", "params", "backend", "threads", "test", "t/s"),
    ]
    assert len({len(line) for line in (title, rule, *lines)}) == 1
    for cell in ("llama 1B Q4_0", "1.24B", "CPU", "tg100 @ d4096", "66.67 ± 47.14", "33 |"):
        assert cell in lines[0]


def test_bench_measures_every_test(monkeypatch):
    qrt.load().close()  # compiles what is missing, which bench would tell of
    monkeypatch.setattr("qrt.tools.bench.measure_read_gb_s", lambda *_: 10.0)
    args = ["bench", "-p", "16", "-n", "4", "-d", "0,65", "-r", "2", "-t", "1", "-o", "json"]
    result = CliRunner().invoke(app, args)
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert [(r["n_prompt"], r["n_gen"], r["n_depth"]) for r in found] == [
        *((16, 0, 0), (16, 0, 65), (0, 4, 0), (0, 4, 65)),
    ]
    for r in found:
        n_tokens = r["n_prompt"] + r["n_gen"]
        assert len(r["samples_ns"]) == 2
        assert r["samples_ts"] == pytest.approx([1e9 * n_tokens / ns for ns in r["samples_ns"]])
    running = describe(model_file(None)).running
    weights = running.weight_bytes_per_token
    for r, n_bytes in ((found[2], weights), (found[3], weights + 65 * running.kv_bytes_per_token)):
        assert r["gb_s"] == pytest.approx(r["avg_ts"] * n_bytes / 1e9)


def test_the_read_bandwidth_is_that_of_a_computer():
    assert 0.1 < measure_read_gb_s(2, lambda *_: None, n_bytes=1 << 24) < 10_000


def test_progress_is_one_line_that_goes_away(monkeypatch):
    monkeypatch.setattr("qrt.cli.progress._QUIET_S", 0)
    monkeypatch.setattr("qrt.cli.progress._BETWEEN_S", 0)
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        monkeypatch.setattr("sys.stderr", out)
        with shown_progress() as progress:
            progress("compiling kernels for your CPU", 0, 25)
            progress("compiling kernels for your CPU", 12, 25)
            progress("loading weights", 250_000, 1_000_000)
            progress("loading weights", 1_000_000, 1_000_000)
    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown == [
        *("", "compiling kernels for your CPU 0/25, once"),
        *("compiling kernels for your CPU 12/25, once", "loading weights 25%", ""),
    ]
    assert pipe.getvalue() == "compiling kernels for your CPU (25, once) ...\n"
