"""The formats of `qrt bench`: each turns results, as they come, into lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from qrt import __version__
from qrt.backends.base import kv_types
from qrt.backends.cpu.tiers import cpu_name
from qrt.cli.tables import Column, MarkdownTable
from qrt.tools.bench import BenchResult, short_count

Lines = Iterator[str]


_COLUMNS = (
    Column("model", 24, lambda r: r.model_type, right=False, same=True),
    Column("size", 10, lambda r: f"{r.model_size / 2**20:.2f} MiB", same=True),
    Column("params", 8, lambda r: short_count(r.model_n_params), same=True),
    Column("backend", 9, lambda r: r.backend.upper(), right=False, same=True),
    Column("threads", 7, lambda r: str(r.n_threads)),
    Column("test", 14, lambda r: r.test.name),
    Column("t/s", 18, lambda r: f"{r.avg_ts:.2f} ± {r.stddev_ts:.2f}"),
    Column("GB/s", 6, lambda r: "" if r.gb_s is None else f"{r.gb_s:.2f}"),
    Column("read GB/s", 9, lambda r: f"{r.read_gb_s:.2f}"),
    Column("% of read", 9, lambda r: "" if r.gb_s is None else f"{_percent(r):.0f}"),
)
_SPARE = ("backend", "size", "params", "model", "read GB/s", "GB/s", "threads", "% of read")


def as_markdown(results: Iterable[BenchResult]) -> Lines:
    """A Markdown table with llama-bench's columns and the bandwidth."""
    table = MarkdownTable(_COLUMNS, _SPARE)
    header = False
    for result in results:
        if not header:
            yield from table.head(result)
            header = True
        yield table.row(result)
    yield from table.foot()


def as_json(results: Iterable[BenchResult]) -> Lines:
    """A JSON array of objects with llama-bench's keys."""
    before = "["
    for result in results:
        yield before + json.dumps(record(result), indent=2)
        before = ","
    yield "]" if before == "," else "[]"


def as_jsonl(results: Iterable[BenchResult]) -> Lines:
    """One JSON object a line."""
    for result in results:
        yield json.dumps(record(result))


def as_csv(results: Iterable[BenchResult]) -> Lines:
    """Comma-separated values, without the single samples."""
    header = False
    for result in results:
        row = {key: value for key, value in record(result).items() if not isinstance(value, list)}
        if not header:
            yield _csv(row.keys())
            header = True
        yield _csv(row.values())


FORMATS: Mapping[str, Callable[[Iterable[BenchResult]], Lines]] = {
    "md": as_markdown,
    "json": as_json,
    "jsonl": as_jsonl,
    "csv": as_csv,
}


def record(result: BenchResult) -> dict[str, object]:
    """A result under llama-bench's keys, with gb_s, read_gb_s and read_percent added."""
    type_k, type_v = kv_types(result.kv_type)
    return {
        "build_commit": f"qrt {__version__}",
        "cpu_info": cpu_name(),
        "gpu_info": "",
        "backends": result.backend.upper(),
        "model_filename": result.model_filename,
        "model_type": result.model_type,
        "model_size": result.model_size,
        "model_n_params": result.model_n_params,
        "n_batch": result.max_rows,
        "n_ubatch": result.max_rows,
        "n_threads": result.n_threads,
        "type_k": type_k,
        "type_v": type_v,
        "n_gpu_layers": 0,
        "n_prompt": result.test.n_prompt,
        "n_gen": result.test.n_gen,
        "n_depth": result.test.n_depth,
        "test_time": result.test_time,
        "avg_ns": round(result.avg_ns),
        "stddev_ns": round(result.stddev_ns),
        "avg_ts": result.avg_ts,
        "stddev_ts": result.stddev_ts,
        "gb_s": result.gb_s,
        "read_gb_s": result.read_gb_s,
        "read_percent": None if result.gb_s is None else _percent(result),
        "samples_ns": list(result.samples_ns),
        "samples_ts": result.samples_ts,
    }


def _percent(result: BenchResult) -> float:
    return 100 * (result.gb_s or 0.0) / result.read_gb_s


def _csv(cells: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()
