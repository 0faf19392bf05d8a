"""Tokens of qrt and of llama.cpp for the same random texts, token by token.

llama.cpp is the one in llama-cpp-python, under the interpreter given by --peer-python, or this one.
Every text is taken without and with special tokens parsed; the bytes of every token and the ids
that end a generation are compared too. With --pre, --kinds or --merges a file is compared as copies
with another pre-tokenizer, other token types or (sentencepiece files) BPE over characters; with
--models a sentencepiece file as vocabularies of other kinds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report import Row, note, peer_python, write
from texts import texts
from vocabularies import MODELS, as_merges, as_models, with_mixed_kinds, with_pre_tokenizer

from qrt.errors import QrtError
from qrt.formats.gguf import open_gguf
from qrt.text import Tokenizer, load_tokenizer
from qrt.text.pretokenizers import PRE_TOKENIZERS

N_SHOWN = 3
COUNTED = ("differ", "differ, special", "control of text", "pieces differ", "ends differ")
"""What a row counts; "control of text" is where llama.cpp makes control tokens of plain text."""


def peer_answer(python: str, path: Path, samples: list[str]) -> dict[str, Any] | None:
    """What peer_tokenization.py finds, or None where llama.cpp gives up."""
    worker = str(Path(__file__).with_name("peer_tokenization.py"))
    done = subprocess.run(
        [python, worker, str(path)], input=json.dumps(samples).encode(), stdout=subprocess.PIPE
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def token_bytes(tokenizer: Tokenizer, token: int, special: bool) -> str:
    """The bytes that a token alone decodes to, one character each, as the peer shows them."""
    return tokenizer.token_bytes(token, special=special).decode("latin-1")


def compare(args: argparse.Namespace, name: str, path: Path) -> Row:
    """One vocabulary's row."""
    note(f"{name} ...")
    with open_gguf(path) as file:
        tokenizer = load_tokenizer(file.metadata, name)
    n_vocab = tokenizer.n_vocab
    shown = [tokenizer.token_bytes(i).decode("utf-8", "replace") for i in range(n_vocab)]
    marks = [text for i, text in enumerate(shown) if text[:1] in "<[" or tokenizer.is_control(i)]
    samples = texts(args.number, args.seed, [*filter(None, shown)], [*filter(None, marks)])
    theirs = peer_answer(args.peer_python, path, samples)
    if theirs is None:
        return {"vocabulary": name, "texts": len(samples)} | dict.fromkeys(COUNTED)
    counted = dict.fromkeys(COUNTED, 0)
    for text, answers in zip(samples, theirs["ids"], strict=True):
        for special, expected in enumerate(answers):
            got = tokenizer.tokenize(text, parse_special=bool(special))
            if got == expected:
                continue
            n_marks = [sum(map(tokenizer.is_control, ids)) for ids in (got, expected)]
            forged = not special and n_marks[0] < n_marks[1]
            counted[COUNTED[2 if forged else special]] += 1
            if sum(counted.values()) <= args.show:
                note(f"  {special} {text!a}\n    qrt  {got}\n    peer {expected}")
    pieces = [
        i
        for i, expected in enumerate(theirs["pieces"])
        if expected != [token_bytes(tokenizer, i, special) for special in (False, True)]
    ]
    for i in pieces[: args.show]:
        note(f"  piece {i} {tokenizer.piece(i)!a}: peer {theirs['pieces'][i]!a}")
    ends = tokenizer.eog_ids ^ set(theirs["eog"])
    for i in sorted(ends)[: args.show]:
        note(f"  end {i} {tokenizer.piece(i)!a}: peer {i in theirs['eog']}")
    counted |= {"pieces differ": len(pieces), "ends differ": len(ends)}
    return {"vocabulary": name, "texts": len(samples)} | counted


def copies(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of every vocabulary to compare."""
    for path in args.files:
        stem = path.stem.removeprefix("ggml-vocab-")
        target = folder / f"{stem}.gguf"
        for name in args.pre:
            yield f"{stem} as {name}", with_pre_tokenizer(path, target, name)
        for name in args.merges:
            yield f"{stem} as {name}", as_merges(path, target, name)
        for seed in range(args.kinds):
            yield f"{stem}, kinds {seed}", with_mixed_kinds(path, target, seed)
        for name in args.models:
            for number, copy in enumerate(as_models(path, target, name)):
                yield f"{stem} as {name} {number}", copy
        if not (args.pre or args.merges or args.kinds or args.models):
            yield stem, path


def names(text: str) -> list[str]:
    """Names of pre-tokenizers: "a,b", or "all"."""
    return list(PRE_TOKENIZERS) if text == "all" else text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files; the vocabulary is enough")
    parser.add_argument("--peer-python", help="interpreter that has llama-cpp-python")
    parser.add_argument("-n", "--number", type=int, default=20_000, help="texts of a vocabulary")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pre", type=names, default=[], help="pre-tokenizers to try: a,b or all")
    parser.add_argument("--merges", type=names, default=[], help="the same, over characters")
    parser.add_argument(
        "--models", type=lambda text: list(MODELS) if text == "all" else text.split(","), default=[]
    )
    parser.add_argument("--kinds", type=int, default=0, help="copies with types drawn by lot")
    parser.add_argument("--show", type=int, default=N_SHOWN, help="differences shown of each")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    args.peer_python = peer_python(parser, args.peer_python)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in copies(args, Path(folder)):
            try:
                rows.append(compare(args, name, path))
            except QrtError as error:
                note(f"  {error}")
    write(rows, args.output)
    if any(row[column] for row in rows for column in COUNTED if column != "control of text"):
        raise SystemExit("tokens differ")


if __name__ == "__main__":
    main()
