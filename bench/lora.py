"""Measure what a low-rank adapter on every linear layer costs, beside the plain model."""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from report import Ratio, Row, counts, median, note, write
from tokens import token_ids
from vs_llama_cpp import SETTLE_S

from qrt.config import default_threads
from qrt.formats.gguf import open_gguf
from qrt.formats.quants.f16 import F16
from qrt.formats.writer import TensorSource, write_gguf
from qrt.progress import no_progress
from qrt.runtime.engine import Engine
from qrt.runtime.loader import LoadOptions, load
from qrt.runtime.steps import Rows, last_rows

LAST = last_rows(1, 1)
LINEAR = re.compile(r"blk\.\d+\.(attn_(q|k|v|output)|ffn_(gate|up|down))\.weight")


def write_adapter(model: Path, path: Path, rank: int) -> None:
    """A random adapter of every linear layer of a model's blocks."""
    random, tensors = np.random.default_rng(0), list[TensorSource]()
    with open_gguf(model) as file:
        arch = str(file.metadata["general.architecture"])
        for name, tensor in file.tensors.items():
            if LINEAR.fullmatch(name):
                n_out, n_in = tensor.shape
                for suffix, shape in ((".lora_a", (rank, n_in)), (".lora_b", (n_out, rank))):
                    values = random.normal(0, 0.02, shape).astype(np.float16)
                    tensors.append((name + suffix, F16, shape, values))
    metadata = {
        "general.architecture": arch,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(rank),
    }
    write_gguf(path, metadata, tensors)


class Side:
    """A model with or without an adapter, whose rows use `scales`."""

    def __init__(self, model: Path, n_threads: int, args: argparse.Namespace, lora: object) -> None:
        n_ctx = args.prompt + args.decode + 1
        options = LoadOptions(n_ctx=n_ctx, n_threads=n_threads, lora=lora)  # type: ignore[arg-type]
        self.loaded = load(model, options, no_progress)
        self.engine = Engine(self.loaded.executor, self.loaded.graph.states, self.loaded.n_ctx)
        self.ids = token_ids(n_ctx - 1, self.loaded.graph.n_vocab)
        self.args = args

    def run(self, scales: tuple[float, ...] = ()) -> tuple[float, float]:
        """Seconds for the prompt, and for the tokens behind it."""
        seq = self.engine.open(scales=scales)
        n = self.args.prompt
        start = time.perf_counter()
        self.engine.append(seq, self.ids[:n])
        middle = time.perf_counter()
        for token in self.ids[n:]:
            self.engine.step([Rows(seq, [token], LAST)])
        end = time.perf_counter()
        self.engine.release(seq)
        return middle - start, end - middle


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> list[Row]:
    """A row for a model."""
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder) / "adapter.gguf"
        write_adapter(path, adapter, args.rank)
        plain = Side(path, n_threads, args, ())
        adapted = Side(path, n_threads, args, [adapter])
    turns = []
    for _ in range(args.repeat):
        sides = []
        for run in (plain.run, partial(adapted.run, (1.0,)), partial(adapted.run, (0.0,))):
            time.sleep(SETTLE_S)
            sides.append(run())
        turns.append(sides)
        note(" ".join(f"{prompt:.3f}+{decode:.3f}" for prompt, decode in sides))
    of_prompt, of_decode, unused = (
        median(one[0][part] / one[side][part] for one in turns)
        for side, part in ((1, 0), (1, 1), (2, 1))
    )
    adapted.engine.close()
    plain.engine.close()
    return [{
        "model": path.stem,
        "threads": n_threads,
        "rank": args.rank,
        "decode / plain": Ratio(of_decode),
        "decode, not used / plain": Ratio(unused),
        "prefill / plain": Ratio(of_prompt),
        "plain tok/s": args.decode / median(one[0][1] for one in turns),
    }]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("-n", "--decode", type=int, default=64)
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-r", "--repeat", type=int, default=5, help="runs; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    each = partial(measure, args=args)
    write([row for t in args.threads for path in args.files for row in each(path, t)], args.output)


if __name__ == "__main__":
    main()
