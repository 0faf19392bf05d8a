"""Recall of the embedded embedding model on questions about the standard library, beside BM25.

The passages are all documented names of the running Python; models/embed has the questions, with
the names that answer them, and says how they were made. A model of another file may be given, too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bm25 import BM25
from numpy.typing import NDArray
from report import Row, Share, note, write

import qrt

sys.path.append(str(Path(__file__).parent.parent / "models" / "embed"))
from passages import Passage, passages, questions

DEPTHS = (1, 5, 10)
BAR, AT = 0.8, 5
"""The least recall of the embedded model among the first AT passages."""


def recalls(
    scores: NDArray[np.floating], names: Sequence[str], answers: Sequence[set[str]]
) -> dict[int, float]:
    """Shares of the questions that a passage among the first so many answers, for DEPTHS.

    scores: (n_questions, n_passages).
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, : max(DEPTHS)]
    right = np.array(
        [[names[i] in a for i in row] for row, a in zip(order, answers, strict=True)], bool
    )
    return {depth: float(right[:, :depth].any(1).mean()) for depth in DEPTHS}


def scores_of(
    path: str, found: Sequence[Passage], asked: Sequence[str]
) -> tuple[NDArray[np.float32], float]:
    """Cosines (n_questions, n_passages) of a model's vectors, and the seconds for the passages."""
    with qrt.load(path) as model:
        began = time.perf_counter()
        stored = model.embed([one.text for one in found], truncate=True)
        took = time.perf_counter() - began
        return model.embed(list(asked)) @ stored.T, took


def row(name: str, recall: dict[int, float], seconds: float) -> Row:
    """One ranking's row."""
    shares = {f"recall@{depth}": Share(share) for depth, share in recall.items()}
    return {"ranking": name, **shares, "all passages s": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=["embed"], help="embedding models")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    found = passages()
    names = [one.name for one in found]
    asked = questions(set(names))
    answers = list(asked.values())
    alone = sum(len(a) == 1 for a in answers)
    note(f"{len(asked)} questions, {alone} with one answer; {len(found)} passages")
    began = time.perf_counter()
    bm25 = BM25([one.text for one in found])
    took = time.perf_counter() - began
    scores = np.array([bm25.scores(question) for question in asked])
    rows = [row("BM25", recalls(scores, names, answers), took)]
    for path in args.files:
        scores, took = scores_of(path, found, list(asked))
        rows.append(row(path, recalls(scores, names, answers), took))
    write(rows, args.output)
    if args.files == ["embed"] and rows[-1][f"recall@{AT}"] < BAR:
        raise SystemExit(f"recall@{AT} of the embedded model is below {BAR:.0%}")


if __name__ == "__main__":
    main()
