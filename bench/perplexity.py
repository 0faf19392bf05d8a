"""Perplexity of qrt and of llama.cpp on the same text, with their relative difference.

llama.cpp is the one in llama-cpp-python, under the interpreter given by --peer-python, or this one;
it tokenizes the text and cuts it by itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from report import Row, note, peer_python, write

from qrt.config import default_threads
from qrt.progress import no_progress
from qrt.tools.chunks import QualityOptions
from qrt.tools.perplexity import perplexity

BAR_PERCENT = 0.2
"""On a trained model, implementations differ by less: each rounds activations in its own way."""


def peer_perplexity(args: argparse.Namespace, path: Path, text: str) -> dict[str, float]:
    """What peer_perplexity.py measures."""
    worker = str(Path(__file__).with_name("peer_perplexity.py"))
    numbers = (args.threads, args.context, args.chunks or 0)
    done = subprocess.run(
        [args.peer_python, worker, str(path), *map(str, numbers)],
        input=text.encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def measure(args: argparse.Namespace, path: Path, text: str) -> Row:
    """One model's row."""
    note(f"{path.stem} ...")
    options = QualityOptions(n_ctx=args.context, n_chunks=args.chunks, n_threads=args.threads)
    ours = perplexity(path, text, options, no_progress)
    theirs = peer_perplexity(args, path, text)
    if theirs["n_chunks"] != ours.n_chunks:
        raise SystemExit(f"{path}: {ours.n_chunks} chunks, llama.cpp has {theirs['n_chunks']}")
    return {
        "model": path.stem,
        "chunks": ours.n_chunks,
        "qrt": f"{ours.perplexity:.4f} ± {ours.perplexity_error:.4f}",
        "llama.cpp": f"{theirs['perplexity']:.4f} ± {theirs['perplexity_error']:.4f}",
        "difference %": 100 * (ours.perplexity / theirs["perplexity"] - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-f", "--file", type=Path, required=True, help="the text, in UTF-8")
    parser.add_argument("--peer-python", help="interpreter that has llama-cpp-python")
    parser.add_argument("-c", "--context", type=int, default=512, help="tokens of a chunk")
    parser.add_argument("--chunks", type=int, help="chunks at most; default: all")
    parser.add_argument("-t", "--threads", type=int, default=default_threads())
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    args.peer_python = peer_python(parser, args.peer_python)
    text = args.file.read_text(encoding="utf-8")
    rows = [measure(args, path, text) for path in args.files]
    write(rows, args.output)
    if any(abs(row["difference %"]) > BAR_PERCENT for row in rows):
        raise SystemExit(f"a difference is larger than {BAR_PERCENT}%")


if __name__ == "__main__":
    main()
