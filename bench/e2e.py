"""Measure whole models: prefill, decode at two depths, start-up time and peak memory."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from qrt_side import QrtSide
from report import Ratio, Row, Share, counts, gb_s, median, note, write

from qrt.backends.cpu.ceilings import measure_read_gb_s
from qrt.config import default_threads
from qrt.progress import no_progress
from qrt.tools.describe import describe

PROMPT = "The quick brown fox"


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> list[Row]:
    """One row for each piece of work."""
    n_ctx = args.depth + max(args.prefill, args.decode)
    model = QrtSide(path, n_threads, n_ctx)
    model.prefill(32)
    model.decode(2, 0)
    rows = [prefill_row(model, args.prefill, args.repeat)]
    for depth in dict.fromkeys((0, args.depth)):
        rows.append(decode_row(model, args.decode, depth, args.repeat))
    model.close()
    name = {"model": path.stem, "threads": n_threads}
    return [name | row for row in rows]


def prefill_row(model: QrtSide, n_tokens: int, repeat: int) -> Row:
    seconds = median(model.prefill(n_tokens) for _ in range(repeat))
    return {
        "test": f"pp{n_tokens}",
        "of read": None,
        "tok/s": n_tokens / seconds,
        "GB/s": None,
        "read GB/s": None,
    }


def decode_row(model: QrtSide, n_tokens: int, depth: int, repeat: int) -> Row:
    """Turns of reading memory and decoding; weights and KV count as read."""
    turns = [
        (measure_read_gb_s(model.n_threads, no_progress), model.decode(n_tokens, depth))
        for _ in range(repeat)
    ]
    n_bytes = model.bytes_read(n_tokens, depth)
    seconds = median(decode_s for _, decode_s in turns)
    return {
        "test": f"tg{n_tokens}" + (f" @ d{depth}" if depth else ""),
        "of read": Share(median(gb_s(n_bytes, decode_s) / read for read, decode_s in turns)),
        "tok/s": n_tokens / seconds,
        "GB/s": gb_s(n_bytes, seconds),
        "read GB/s": median(read for read, _ in turns),
    }


def start(command: list[str]) -> tuple[float, int]:
    """Seconds to the first byte of output or to the end, and the peak resident bytes."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert child.stdout is not None
    os.read(child.stdout.fileno(), 1)
    seconds = time.perf_counter() - begin
    child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit


def start_row(
    path: Path | None, n_threads: int, n_ctx: int, repeat: int, peer_python: str | None
) -> Row:
    """Whole processes that generate one token; the first, which fills the caches, is not counted.

    This process stays small, since a child's peak starts at what its parent holds.
    """
    qrt = [sys.executable, "-m", "qrt"]
    common = ["-n", "1", "-t", str(n_threads)]
    if path is None:
        command = [*qrt, "run", *common, PROMPT]
    else:
        command = [*qrt, "complete", str(path), *common, "-c", str(n_ctx), "-p", PROMPT]
    peer = None
    if path is not None and peer_python is not None:
        script = str(Path(__file__).with_name("peer_first_token.py"))
        peer = [peer_python, script, str(path), PROMPT, str(n_threads), str(n_ctx)]
    turns = [(start(command), start(peer) if peer else None) for _ in range(repeat + 1)][1:]
    peak = median(ours[1] for ours, _ in turns)
    row: Row = {
        "model": path.stem if path else "(embedded)",
        "threads": n_threads,
        "first token s": median(ours[0] for ours, _ in turns),
        "peak MB": peak / 1e6,
        "time / llama.cpp": None,
        "llama.cpp s": None,
        "llama.cpp peak MB": None,
    }
    if peer is not None:
        pairs = [(ours[0], theirs[0]) for ours, theirs in turns if theirs]
        row["time / llama.cpp"] = Ratio(median(ours / theirs for ours, theirs in pairs))
        row["llama.cpp s"] = median(theirs for _, theirs in pairs)
        row["llama.cpp peak MB"] = median(theirs[1] for _, theirs in turns if theirs) / 1e6
    if path is None:
        return row | {"peak / (file + KV)": None, "file MB": None, "KV MB": None}
    description = describe(path)
    assert description.running is not None
    kv_bytes = description.running.state_bytes(n_ctx)
    return row | {
        "peak / (file + KV)": Ratio(peak / (description.file_bytes + kv_bytes)),
        "file MB": description.file_bytes / 1e6,
        "KV MB": kv_bytes / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-p", "--prefill", type=int, default=512)
    parser.add_argument("-n", "--decode", type=int, default=128)
    parser.add_argument("-d", "--depth", type=int, default=4096)
    parser.add_argument("-r", "--repeat", type=int, default=5, help="runs; the median is shown")
    parser.add_argument("--startup", action="store_true", help="processes; no file: the embedded")
    parser.add_argument("-c", "--n-ctx", type=int, default=2048, help="context for --startup")
    parser.add_argument("--peer-python", help="has llama-cpp-python, to start beside")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    if not args.files and not args.startup:
        parser.error("name a GGUF file, or ask for --startup")
    rows: list[Row] = []
    for n_threads in args.threads:
        for path in args.files or [None]:
            note(f"{path or 'embedded model'} on {n_threads} threads")
            if args.startup:
                rows.append(start_row(path, n_threads, args.n_ctx, args.repeat, args.peer_python))
            else:
                rows += measure(path, n_threads, args)
    write(rows, args.output)


if __name__ == "__main__":
    main()
