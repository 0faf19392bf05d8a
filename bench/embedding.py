"""Measure embeddings beside llama.cpp and torch, turn by turn in one run, and print the ratios.

The file is a BERT, as `shape_model.py bert-base Q8_0` writes it; torch has one of the same shape
with random weights, in float32. The peers run in processes of their own, each in the setting that
is best for some of the texts. Only one side computes at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from report import Ratio, Row, median, note, peer_python, write
from tokens import token_ids
from worker import Worker

import qrt
from qrt.config import default_threads

N_TRIED = 16
"""Texts that find the best setting of a peer."""
SETTLE_S = 0.5
"""Pause after each turn: idle threads of the side before may spin for a while."""

_FIELDS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
}
"""What transformers calls a shape, by the keys of a file."""


def bert_shape(model: qrt.Model) -> Mapping[str, Any]:
    """The keywords of BertConfig for a file."""
    arch, metadata = model.info.arch, model.metadata
    shape = {name: metadata[f"{arch}.{key}"] for name, key in _FIELDS.items()}
    return {**shape, "vocab_size": model.info.n_vocab}


def sides(
    model: qrt.Model, args: argparse.Namespace, ends: ExitStack
) -> dict[str, Callable[[], float]]:
    """What measures each side, in seconds, by its name and setting; qrt is the first."""
    ids = token_ids(args.texts * args.length, model.info.n_vocab)
    texts = [ids[at : at + args.length] for at in range(0, len(ids), args.length)]

    def ours() -> float:
        start = time.perf_counter()
        model.embed(texts)
        return time.perf_counter() - start

    found: dict[str, Callable[[], float]] = {"qrt": ours}
    peers = {
        "llama.cpp": (args.peer_python, "peer_embedding.py", {"path": str(args.file)}),
        "torch": (args.torch_python, "torch_embedding.py", {"shape": bert_shape(model)}),
    }
    for name, (python, script, what) in peers.items():
        if python is None:
            continue
        worker = Worker(python, script)
        ends.callback(worker.close)
        told = worker.ask("load", n_threads=args.threads, **what)

        def theirs(worker: Worker, setting: str, texts: list[list[int]]) -> float:
            return float(worker.ask("embed", texts=texts, setting=setting)["seconds"])

        tried = {
            setting: min(theirs(worker, setting, texts[:N_TRIED]) for _ in range(2))
            for setting in told["settings"]
        }
        best = min(tried, key=lambda setting: tried[setting])
        shares = ", ".join(f"{setting}: {s / tried[best]:.2f}" for setting, s in tried.items())
        note(f"{name} {told['version']}, times beside the best: {shares}")
        found[f"{name} ({best})"] = partial(theirs, worker, best, texts)
    return found


def measure(args: argparse.Namespace) -> list[Row]:
    """A row for each peer."""
    with ExitStack() as ends:
        model = ends.enter_context(qrt.load(args.file, n_threads=args.threads))
        measures = sides(model, args, ends)
        model.embed(["a"] * N_TRIED)
        seconds: dict[str, list[float]] = {name: [] for name in measures}
        for turn in range(args.repeat):
            for name, run in measures.items():
                time.sleep(SETTLE_S)
                seconds[name].append(run())
            note(f"turn {turn + 1} of {args.repeat}")
    ours = seconds.pop("qrt")
    return [
        {
            "model": args.file.stem,
            "threads": args.threads,
            "peer": name,
            "qrt / peer": Ratio(median(t / o for o, t in zip(ours, theirs, strict=True))),
            "qrt texts/s": args.texts / median(ours),
            "peer texts/s": args.texts / median(theirs),
            "qrt tok/s": args.texts * args.length / median(ours),
        }
        for name, theirs in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a GGUF file of a BERT")
    parser.add_argument("--peer-python", help="interpreter that has llama-cpp-python")
    parser.add_argument("--torch-python", help="interpreter that has torch and transformers")
    parser.add_argument("-t", "--threads", type=int, default=default_threads())
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("-r", "--repeat", type=int, default=5, help="turns; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    args.peer_python = peer_python(parser, args.peer_python)
    write(measure(args), args.output)


if __name__ == "__main__":
    main()
