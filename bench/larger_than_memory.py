"""Measure models that do not fit: packing and decoding in a memory group, beside llama.cpp's mmap.

The group holds --share of the file's size, and is made by hand (cgroup v1, as root) or by
systemd-run. Pages of the files that others read are let go first, so that the group has to pay for
its own. The logits of the last token are compared with those of a process that has all memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qrt_side import QrtSide
from report import Ratio, Row, counts, note, peer_python, write

from qrt.backends.cpu.keeping import sidecar_path
from qrt.cgroups import groups
from qrt.config import default_threads, read_env
from qrt.errors import QrtError

N_CTX = 1024


@contextmanager
def memory_group(n_bytes: int) -> Iterator[list[str]]:
    """The start of a command that runs the rest with so much memory."""
    own = [g for g in groups(Path("/"), "memory") if (g / "memory.limit_in_bytes").exists()]
    if not own:
        limits = ["-p", f"MemoryMax={n_bytes}", "-p", "MemorySwapMax=0"]
        yield ["systemd-run", "--quiet", "--scope", *limits]
        return
    group = own[-1] / f"qrt-bench-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(n_bytes))
    try:
        yield ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
        peak = int((group / "memory.max_usage_in_bytes").read_text()) / 1e9
        killed = (group / "memory.oom_control").read_text().split("oom_kill ")[-1].split()[0]
        note(f"the group: {n_bytes / 1e9:.2f} GB, peak {peak:.2f} GB, {killed} processes killed")
    finally:
        time.sleep(0.5)
        group.rmdir()


def let_go(path: Path) -> None:
    """Takes a file's pages out of memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def ask(command: Sequence[str]) -> Row:
    """What a process answers: a JSON object."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command)}")
    found: Row = json.loads(done.stdout)
    return found


def worker(path: Path, n_threads: int, n_prefill: int, n_decode: int) -> None:
    """Loads, prefills, decodes; prints seconds and a digest of the last logits."""
    start = time.perf_counter()
    try:
        model = QrtSide(path, n_threads, N_CTX)
    except QrtError as error:
        print(json.dumps({"error": str(error)}))
        return
    found: Row = {"load": time.perf_counter() - start}
    model.decode(1, 0)
    found["decode"] = model.decode(n_decode, 0)
    found["prefill"] = model.prefill(n_prefill)
    digest = hashlib.sha256(model.engine.append(model.engine.open(), [1, 2, 3]).tobytes())
    print(json.dumps(found | {"logits": digest.hexdigest()}))
    model.close()


def measure(path: Path, n_threads: int, python: str, args: argparse.Namespace) -> Iterator[Row]:
    """Rows of one file: qrt's, and llama.cpp's with the ratio."""
    kept = sidecar_path(path, read_env())
    own = [sys.executable, __file__, "--worker", str(path), "-t", str(n_threads)]
    own += ["-p", str(args.prefill), "-n", str(args.decode)]
    n_bytes = int(args.share * path.stat().st_size)
    qrt = [sys.executable, "-m", "qrt", "pack", str(path)]
    kept.unlink(missing_ok=True)
    with memory_group(n_bytes) as inside:
        let_go(path)
        refused = ask([*inside, *own])
        note(refused.get("error", "it fits"))
        start = time.perf_counter()
        subprocess.run([*inside, *qrt], stdout=subprocess.DEVNULL, check=True)
        note(f"packed in {time.perf_counter() - start:.1f} s")
    with memory_group(n_bytes) as inside:
        let_go(path)
        let_go(kept)
        ours = ask([*inside, *own])
    with memory_group(n_bytes) as inside:
        let_go(path)
        counts = map(str, (n_threads, N_CTX, args.prefill, args.decode))
        peer = [python, str(Path(__file__).with_name("peer_mapped.py")), str(path), *counts]
        theirs = ask([*inside, *peer])
    whole = ask(own)
    is_equal = ours["logits"] == whole["logits"]
    note(f"the same logits as with all memory: {'yes' if is_equal else 'NO'}")
    for test, n in (("prefill", args.prefill), ("decode", args.decode)):
        yield {
            "model": path.stem,
            "memory": f"{args.share:.0%} of it",
            "threads": n_threads,
            "test": f"{'pp' if test == 'prefill' else 'tg'}{n}",
            "ratio": Ratio(theirs[test] / ours[test]),
            "tok/s": n / ours[test],
            "llama.cpp tok/s": n / theirs[test],
            "all memory tok/s": n / whole[test],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()])
    parser.add_argument("-p", "--prefill", type=int, default=512)
    parser.add_argument("-n", "--decode", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.5, help="memory, of the file's size")
    parser.add_argument("--peer-python", help="interpreter with llama-cpp-python")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", choices=["md", "json"], default="md")
    args = parser.parse_args()
    if args.worker:
        worker(args.files[0], args.threads[0], args.prefill, args.decode)
        return
    python = peer_python(parser, args.peer_python)
    rows = [row for f in args.files for t in args.threads for row in measure(f, t, python, args)]
    write(rows, args.output)


if __name__ == "__main__":
    main()
