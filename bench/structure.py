"""Measure what it costs to hold answers to a grammar, beside answers that are free."""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from report import Ratio, Row, counts, median, note, write
from tokens import token_ids

import qrt
from qrt.config import default_threads
from qrt.runtime.constraint import Grammar

SETTLE_S = 0.5
N_MASKS = 200
FORMS: dict[str, dict[str, Any]] = {
    "a text": {"type": "string", "minLength": 100_000},
    "records": {
        "type": "array",
        "minItems": 100_000,
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 40},
                "born": {"type": "string", "format": "date"},
                "size": {"type": "number"},
                "kind": {"enum": ["first", "second", "third"]},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            },
            "required": ["name", "born", "size", "kind", "tags"],
            "additionalProperties": False,
        },
    },
}
"""Schemas of answers that do not end: one with nothing forced, one of the usual kind."""


def tok_s(model: qrt.Model, prompts: list[list[int]], n: int, schema: object) -> float:
    """Tokens a second of all prompts together, each continued by `n`."""
    start = time.perf_counter()
    answers = model.generate_many(
        prompts,
        batch_size=len(prompts),
        max_tokens=n,
        seed=1,
        ignore_eos=True,
        cache_prompt=False,
        response_format=schema,
    )
    return sum(len(answer.tokens) for answer in answers) / (time.perf_counter() - start)


def mask_s(model: qrt.Model, schema: dict[str, Any], tokens: tuple[int, ...]) -> list[float]:
    """CPU seconds for the mask at each place of an answer."""
    constraint = model._core.grammars.constraint(Grammar("json_schema", json.dumps(schema)))
    times = []
    for token in tokens:
        if not constraint.forced():
            start = time.thread_time()
            constraint.mask()
            times.append(time.thread_time() - start)
        constraint.accept(token)
    return sorted(times)


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> list[Row]:
    """A line for each form."""
    rows: list[Row] = []
    with qrt.load(path, n_threads=n_threads, n_ctx=1024, seed=1) as model:
        prompts = [token_ids(32 + i, model.info.n_vocab) for i in range(args.sequences)]
        start = time.perf_counter()
        model._core.grammars.vocabulary()
        vocabulary_s = time.perf_counter() - start
        tok_s(model, prompts, 4, None)
        for name, schema in FORMS.items():
            start = time.perf_counter()
            model._core.grammars.constraint(Grammar("json_schema", json.dumps(schema)))
            compile_s = time.perf_counter() - start
            answer = model.generate(
                prompts[0], response_format=schema, max_tokens=N_MASKS, seed=1, ignore_eos=True
            )
            times = mask_s(model, schema, answer.tokens)
            turns = []
            for _ in range(args.repeat):
                time.sleep(SETTLE_S)
                free = tok_s(model, prompts, args.decode, None)
                turns.append((free, tok_s(model, prompts, args.decode, schema)))
            note(f"{path.stem}: {name} measured")
            rows.append(
                {
                    "model": path.stem,
                    "threads": n_threads,
                    "answer": name,
                    "vocabulary s": vocabulary_s,
                    "compile ms": compile_s * 1e3,
                    "median mask us": median(times) * 1e6,
                    "mean mask us": sum(times) / len(times) * 1e6,
                    "99% of masks us": times[len(times) * 99 // 100] * 1e6,
                    f"free tok/s, {args.sequences} streams": median(free for free, _ in turns),
                    "held / free": Ratio(median(held / free for free, held in turns)),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-s", "--sequences", type=int, default=16)
    parser.add_argument("-n", "--decode", type=int, default=48)
    parser.add_argument("-r", "--repeat", type=int, default=5, help="runs; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    each = partial(measure, args=args)
    write([row for path in args.files for t in args.threads for row in each(path, t)], args.output)


if __name__ == "__main__":
    main()
