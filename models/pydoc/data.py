"""Make the training text: the standard library of the running Python as source and questions."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import io
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sentencepiece

N_VOCAB = 4096
USER, ASSISTANT = "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CONTROLS = re.compile(r"(<\|user\|>|<\|assistant\|>|</s>)")
SKIP_DIRS = {"test", "tests", "idle_test", "idlelib", "lib2to3", "encodings"}
SKIP_DIRS |= {"site-packages", "dist-packages"}  # not part of the standard library
PUBLIC_NAMES = {"posixpath": "os.path", "_collections_abc": "collections.abc"}
QUESTIONS = ("What does {} do?", "What is {}?", "Explain {}.", "Tell me about {}.", "{}?")
CODE_QUESTIONS = ("Show the source of {}.", "How is {} written?")
MAX_ANSWER, MAX_CODE = 900, 1500  # characters
CHAT_EPOCHS = 2
VALID_EVERY = 50


def source_files() -> list[tuple[str, str]]:
    """(module name, source) of the standard library, tests and codec tables left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIP_DIRS.isdisjoint(parts) and not parts[0].startswith(("config-", "_sysconfigdata")):
            name = ".".join(parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8", errors="ignore")
            modules.append((PUBLIC_NAMES.get(name, name), text.expandtabs()))
    return modules


def first_paragraph(doc: str) -> str:
    """The first paragraph of a docstring that is prose, on one line."""
    for paragraph in inspect.cleandoc(doc).split("\n\n"):
        text = " ".join(paragraph.split())
        if len(text) >= 20 and " " in text and "(" not in text.split(" ")[0]:
            return text if len(text) <= MAX_ANSWER else text[:MAX_ANSWER].rsplit(". ", 1)[0] + "."
    return ""


def described(module: str, source: str) -> Iterator[tuple[str, str, str]]:
    """(qualified name, first paragraph of the docstring, source) of everything documented."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    lines = source.splitlines()

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, kinds) and not child.name.startswith("_"):
                full = f"{name}.{child.name}"
                body = lines[child.lineno - 1 : child.end_lineno]
                code = inspect.cleandoc("\n".join(["", *body]))
                yield full, first_paragraph(ast.get_docstring(child) or ""), code
                yield from walk(child, full)

    tree = ast.parse(source)
    yield module, first_paragraph(ast.get_docstring(tree) or ""), ""
    yield from walk(tree, module)


def built_in() -> Iterator[tuple[str, str, str]]:
    """The same for the modules written in C, which have no source to parse."""
    for module in sorted(name for name in sys.builtin_module_names if not name.startswith("_")):
        prefix = "" if module == "builtins" else f"{module}."
        for name, value in sorted(vars(importlib.import_module(module)).items()):
            if name.startswith("_") or not callable(value):
                continue
            yield prefix + name, first_paragraph(inspect.getdoc(value) or ""), ""
            for attribute, method in sorted(vars(value).items() if isinstance(value, type) else ()):
                if not attribute.startswith("_") and callable(method):
                    doc = first_paragraph(inspect.getdoc(method) or "")
                    yield f"{prefix}{name}.{attribute}", doc, ""


def topics(source: str) -> dict[str, str]:
    """The language reference that `help()` shows, from pydoc_data.topics."""
    assignment = next(node for node in ast.parse(source).body if isinstance(node, ast.Assign))
    return ast.literal_eval(assignment.value)


def chats(rng: random.Random, items: list[tuple[str, str, str]]) -> Iterator[str]:
    """Dialogues of one to three turns about neighbouring names, in the chat template."""
    turns = []
    for name, answer, code in items:
        if answer:
            turns.append((rng.choice(QUESTIONS).format(name), answer))
        if 40 <= len(code) <= MAX_CODE and rng.random() < 0.5:
            turns.append((rng.choice(CODE_QUESTIONS).format(name), code))
    while turns:
        n_turns = rng.choice((1, 1, 2, 3))
        yield "</s>".join(f"{USER}{ask}{ASSISTANT}{answer}" for ask, answer in turns[:n_turns])
        turns = turns[n_turns:]


def documents(seed: int) -> list[str]:
    """All documents, shuffled; the same for the same Python and seed."""
    rng = random.Random(seed)
    texts, items = [], list(built_in())
    for name, source in source_files():
        if name == "pydoc_data.topics":
            for topic, text in topics(source).items():
                texts.append(text)
                items.append((f"'{topic}'", first_paragraph(text.split("***\n")[-1]), ""))
        else:
            texts.append(f"# {name}\n{source}")
            items += described(name, source)
    for _ in range(CHAT_EPOCHS):
        texts += chats(rng, items)
    rng.shuffle(texts)
    return texts


def train_vocabulary(texts: list[str]) -> bytes:
    """A sentencepiece BPE model with byte fallback that keeps white space as it is."""
    model = io.BytesIO()
    pieces = [piece for text in texts for piece in CONTROLS.split(text) if piece]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(pieces),
        model_writer=model,
        model_type="bpe",
        vocab_size=N_VOCAB,
        control_symbols=[USER, ASSISTANT],
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        max_sentence_length=1 << 20,
        num_threads=1,
        minloglevel=1,
    )
    return model.getvalue()


def encode(processor: sentencepiece.SentencePieceProcessor, text: str) -> list[int]:
    """Token ids of a document with its control tokens, between <s> and </s>."""
    ids = [processor.bos_id()]
    for piece in CONTROLS.split(text):
        if CONTROLS.fullmatch(piece):
            ids.append(processor.piece_to_id(piece))
        else:
            ids += processor.encode(piece)
    return [*ids, processor.eos_id()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the vocabulary and the tokens go")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    texts = documents(args.seed)
    vocabulary = train_vocabulary(texts)
    (args.folder / "vocab.model").write_bytes(vocabulary)
    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
    split: dict[str, list[int]] = {"train": [], "valid": []}
    for i, text in enumerate(texts):
        split["valid" if i % VALID_EVERY == 0 else "train"] += encode(processor, text)
    for name, tokens in split.items():
        np.array(tokens, dtype=np.uint16).tofile(args.folder / f"{name}.bin")
        print(f"{name}: {len(tokens):,} tokens")
    print(f"{len(texts):,} documents, {sum(map(len, texts)):,} characters")


if __name__ == "__main__":
    main()
