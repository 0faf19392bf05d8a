"""Measure the agent pattern: every turn sends the whole conversation and a little more."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from report import Ratio, Row, Share, counts, median, note, write
from tokens import token_ids

import qrt
from qrt.config import default_threads


class Agent:
    """A conversation that grows by an answer and `n_new` tokens a turn."""

    def __init__(self, ids: Sequence[int], n_prefix: int, n_new: int, n_answer: int) -> None:
        self._ids = ids
        self._n_new = n_new
        self._n_answer = n_answer
        self._at = n_prefix
        self._prompt = list(ids[:n_prefix])

    def begin(self, model: qrt.Model) -> float:
        """Seconds to the first token of what all turns begin with."""
        return first_token(model, self._prompt)[0]

    def turn(self, model: qrt.Model, known: qrt.Session | None = None) -> tuple[float, ...]:
        """Share of what came before that was stored, and seconds to the first token: of the turn,
        of its new tokens as a prompt of their own, and where `known` has what came before, of them
        behind it.
        """
        before = list(self._prompt)
        new = self._ids[self._at : self._at + self._n_new]
        self._at += self._n_new
        self._prompt += new
        done = model.generate(self._prompt, **options(self._n_answer))
        found = [done.timings.n_cached_tokens / len(before), done.timings.ttft_s]
        found.append(first_token(model, new, cache_prompt=False)[0])
        if known is not None:
            first_token(known, before, cache_salt="known")
            seconds, n_cached = first_token(known, self._prompt, cache_salt="known")
            assert n_cached == len(before)
            found.append(seconds)
        self._prompt += done.tokens
        return tuple(found)


def options(n_tokens: int) -> dict[str, Any]:
    """Of a generation that does not end by itself."""
    return {"max_tokens": n_tokens, "seed": 1, "ignore_eos": True}


def first_token(
    model: qrt.Model | qrt.Session, prompt: Sequence[int], **more: object
) -> tuple[float, int]:
    """Seconds to the first token, and how many of the prompt were stored."""
    timings = model.generate(prompt, **options(1), **more).timings
    return timings.ttft_s, timings.n_cached_tokens


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> Row:
    """One line: turns in one process, then one turn after each restart."""
    n_turns = args.turns + args.restarts
    n_ctx = args.prefix + n_turns * (args.new + args.answer) + 1
    with tempfile.TemporaryDirectory() as folder:
        load = partial(qrt.load, path, n_threads=n_threads, n_ctx=n_ctx, prefix_dir=folder)
        with load() as model, model.session() as known:
            ids = token_ids(n_ctx, model.info.n_vocab)
            agent = Agent(ids, args.prefix, args.new, args.answer)
            note(f"{path.stem}: first prompt {agent.begin(model):.1f} s")
            turns = [agent.turn(model, known) for _ in range(args.turns)]
        again = []
        for _ in range(args.restarts):
            with load() as model:
                first_token(model, ids[:8], cache_prompt=False)
                again.append(agent.turn(model))
    behind = median(seconds for *_, seconds in turns[-5:])
    return {
        "model": path.stem,
        "threads": n_threads,
        "stored": Share(median(share for share, *_ in turns)),
        "first token / of the new ones behind the same": Ratio(
            median(own / seconds for _, own, _, seconds in turns)
        ),
        "/ of the new ones alone": Ratio(median(own / alone for _, own, alone, _ in turns)),
        "restarted: stored": Share(median(share for share, *_ in again)),
        "first token / behind": Ratio(median(own / behind for _, own, _ in again)),
        "/ alone": Ratio(median(own / alone for _, own, alone in again)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-p", "--prefix", type=int, default=4096, help="tokens all turns share")
    parser.add_argument("-n", "--new", type=int, default=200, help="tokens that a turn adds")
    parser.add_argument("-a", "--answer", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    each = partial(measure, args=args)
    write([each(path, t) for t in args.threads for path in args.files], args.output)


if __name__ == "__main__":
    main()
