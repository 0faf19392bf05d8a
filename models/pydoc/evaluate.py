"""Ask qrt's API the questions that were kept out of training; a Markdown table, one row a file."""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from questions import REFUSAL

import qrt
from qrt.progress import no_progress
from qrt.tools.chunks import QualityOptions
from qrt.tools.perplexity import perplexity

CHUNK = 512  # tokens; the second half is scored
MAX_TOKENS = 160
KEY_WORDS_SHARE = 0.75
COMMON = frozenset(
    re.findall(
        r"\w+",
        """about after also and any are because been before being both but can does each either else
        for from given has have how into its itself more most must not one only other otherwise over
        same should some such than that the their them then there these they this those used using
        was were when where which while will with within without you your""",
    )
)
COLUMNS = (
    "file",
    "bytes",
    "word for word",
    "key words",
    "real ones refused",
    "made-up refused",
    "general refused",
    "perplexity",
)


def key_words(text: str) -> set[str]:
    """The words of three letters and more that carry a sentence."""
    return {word.lower() for word in re.findall(r"[A-Za-z]{3,}", text)} - COMMON


def judged(question: dict[str, str], answer: str) -> Iterable[str]:
    """What counts for an answer: `exact`, `key`, `refused`, each under the kind of question."""
    kind = question["kind"]
    yield kind
    if answer.startswith(REFUSAL):
        yield f"{kind} refused"
    if kind == "fact":
        asked = key_words(question["sentence"])
        if question["sentence"] in answer:
            yield "exact"
        if len(asked & key_words(answer)) >= KEY_WORDS_SHARE * len(asked):
            yield "key words"


def row(path: Path, questions: list[dict[str, str]], text: str, wrong: Path | None) -> list[str]:
    """The figures of one file."""
    counts: Counter[str] = Counter()
    misses = []
    with qrt.load(path) as model:
        for question in questions:
            message = {"role": "user", "content": question["question"]}
            answer = model.chat([message], temperature=0.0, max_tokens=MAX_TOKENS).text
            found = set(judged(question, answer))
            counts.update(found)
            if not found & {"exact", "made_up refused", "general refused"}:
                misses.append(question | {"answer": answer})
    prose = perplexity(path, text, QualityOptions(n_ctx=CHUNK), no_progress)
    if wrong:
        wrong.write_text("".join(json.dumps(miss) + "\n" for miss in misses))

    def share(what: str, of: str) -> str:
        return f"{100 * counts[what] / max(1, counts[of]):.1f} %"

    return [
        path.name,
        f"{path.stat().st_size:,}",
        share("exact", "fact"),
        share("key words", "fact"),
        share("fact refused", "fact"),
        share("made_up refused", "made_up"),
        share("general refused", "general"),
        f"{prose.perplexity:.3f} ± {prose.perplexity_error:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that data.py filled")
    parser.add_argument("gguf", type=Path, nargs="+", help="the files to compare")
    parser.add_argument("--every", type=int, default=1, help="ask each so manieth question only")
    parser.add_argument("--wrong", type=Path, help="write the wrong answers here")
    args = parser.parse_args()
    lines = (args.folder / "evaluation.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines][:: args.every]
    text = (args.folder / "valid.txt").read_text()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for path in args.gguf:
        print("| " + " | ".join(row(path, questions, text, args.wrong)) + " |", flush=True)


if __name__ == "__main__":
    main()
