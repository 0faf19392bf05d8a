"""Writes SUPPORT.md: what runs and how far from others, by the registry and the stored oracles.

    python tests/make_support_table.py [--all] [NAME...]

Errors are measured for the architectures and formats that are named, or that SUPPORT.md lacks, or
for all; the others stay as they stand. `tests/test_support_table.py` compares the rest.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from in_numpy import IN_NUMPY
from kernels import EXPERT_TYPES, nmse
from make_arch_oracles import HF
from oracles import TESTS, data_folder
from oracles import TOKENS as QUANT_TOKENS
from steps import Model, logits_of, open_model
from tiny_heads import HEADED, headed_metadata, headed_tensors
from tiny_models import MODELS, arch_of, metadata_of, tensors_of
from tiny_parts import N_CTX, TOKENS

from qrt.arch import architecture_names, architectures, build_graph
from qrt.backends import cpu, reference
from qrt.errors import BackendError
from qrt.formats.gguf import open_gguf
from qrt.formats.quants import WEIGHT_TYPES

TARGET = TESTS.parent / "SUPPORT.md"
NONE = "-"
HEAD = """\
# What runs

`python tests/make_support_table.py` writes this file by the registry of architectures and the
oracles in `tests/data`; a test fails where it says anything else, and other tests run every oracle
that is counted here. NMSE is the mean square of the difference from an oracle's logits over the
mean square of these; of a model that has a pooling, hidden states take the place of logits.

## Architectures
A file runs if its `general.architecture` stands here.

Tiny models have random float32 weights under which every tensor and key matters
(`tests/tiny_models.py`); their logits were computed by Hugging Face transformers, or else by
llama.cpp, or by a few lines of NumPy. Files are such as llama.cpp makes, with its logits and a
float16 cache. Each error is the largest of all oracles of the architecture on the CPU and on the
reference backend, that of a file the median over positions. Models are listed by their
architecture: no file with trained weights is among the oracles. Classifiers and dense layers behind
the pooling have oracles of their own (`tests/tiny_heads.py`).

The last column names the keys that an architecture heeds and no oracle of it has. Those that more
than half of the architectures heed are read by code that they share, and left out there{unseen}.

"""
FORMATS = """
## Block formats
A weight of any architecture may be in any of these; `I8` to `I64` and `F64` are read and never
weights. The oracle is llama.cpp on the same weights in F32: the error is that of all matrices of a
small dense llama in the format, beside llama.cpp's own. Oracles have experts in {of_oracles}; the
kernels of experts are compared with NumPy in float64 in {of_kernels}.

"""
ARCH_COLUMNS = ("architecture", "models", "tiny models", "NMSE", "files", "NMSE", "without oracle")
FORMAT_COLUMNS = ("format", "bits a weight", "NMSE", "llama.cpp's NMSE")

Numbers = Mapping[str, tuple[str, ...]]
"""By architecture or format: the errors in its row, as they are written."""


class Asked(dict[str, object]):
    """Metadata that remembers which keys were asked for."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        super().__init__(metadata)
        self.asked: set[str] = set()

    def get(self, key: str, default: object = None) -> object:
        self.asked.add(key)
        return super().get(key, default)


@dataclass(frozen=True)
class Oracles:
    """Those of an architecture: its tiny models, and its files by their names without suffix."""

    tiny: tuple[str, ...]
    files: tuple[str, ...]


def oracles_of(arch: str) -> Oracles:
    stored = {path.stem for path in (TESTS / "data/tiny").glob("*.npz")}
    packed = (TESTS / "data/arch").glob(f"{arch}-*.gguf.xz")
    files = sorted(path.name.removesuffix(".gguf.xz") for path in packed)
    return Oracles(
        tuple(name for name in MODELS if arch_of(name) == arch and name in stored),
        tuple(name for name in files if arch_of_file(name) == arch),
    )


def arch_of_file(name: str) -> str:
    with open_gguf(arch_file(name)) as file:
        return str(file.metadata["general.architecture"])


def arch_file(name: str) -> Path:
    return data_folder() / "arch" / f"{name}.gguf"


@cache
def keys_of(arch: str) -> tuple[frozenset[str], frozenset[str]]:
    """The keys that are heeded of its oracles, without the prefix, and those that they have."""
    asked: set[str] = set()
    present: set[str] = set()
    found = oracles_of(arch)
    sources = [(metadata_of(name), tensors_of(name)) for name in found.tiny]
    headed = [name for name in HEADED if arch_of(HEADED[name].model) == arch]
    sources += [(headed_metadata(name), headed_tensors(name)) for name in headed]
    for name in found.files:
        file = open_gguf(arch_file(name))
        sources.append((dict(file.metadata), dict(file.tensors)))
    for metadata, tensors in sources:
        seen = Asked(metadata)
        build_graph(seen, tensors, arch, N_CTX)
        asked |= seen.asked
        present |= metadata.keys()
    return tuple(
        frozenset(k.removeprefix(f"{arch}.") for k in keys if k.startswith(f"{arch}."))
        for keys in (asked, present)
    )


def supported() -> list[str]:
    """The architectures that have an oracle."""
    return [a for a in architecture_names() if oracles_of(a).tiny or oracles_of(a).files]


def models_of(arch: str) -> str:
    """The models of an architecture: the first line of its file behind the name."""
    file = Path(architectures.__path__[0]) / f"{arch.replace('-', '_')}.py"
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0].removeprefix(f"{arch}:").strip().removesuffix(".")


def makers(names: Sequence[str]) -> str:
    """By whom the logits of tiny models are, and how many."""
    n_hf = sum(name in HF for name in names)
    n_own = sum(name in IN_NUMPY for name in names)
    counts = {"transformers": n_hf, "NumPy": n_own, "llama.cpp": len(names) - n_hf - n_own}
    return ", ".join(f"{n} {by}" for by, n in counts.items() if n) or NONE


def formats_in(names: Sequence[str], part: str = "") -> str:
    """The formats of the weights of files, or of those whose names have a part."""
    found: set[str] = set()
    for name in names:
        with open_gguf(arch_file(name)) as file:
            found |= {t.qtype.name for t in file.tensors.values() if part in t.name}
    return ", ".join(qtype.name for qtype in WEIGHT_TYPES if qtype.name in found) or NONE


def quant_oracles() -> Iterator[str]:
    stored = {path.stem for path in (TESTS / "data/quant").glob("*.npz")}
    return (q.name for q in WEIGHT_TYPES if f"llama-{q.name}" in stored)


def peer_error(qtype: str) -> str:
    return written(float(np.load(TESTS / "data/quant" / f"llama-{qtype}.npz")["peer_nmse"]))


def quoted(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def written(error: float | None) -> str:
    return NONE if error is None else f"{error:.1e}"


def errors(model: Model, tokens: np.ndarray, **options: object) -> Iterator[np.ndarray]:
    """The logits of every backend that has all ops of a model."""
    for backend in (reference, cpu):
        try:
            backend.check(model[0])
        except BackendError:
            continue
        yield logits_of(backend, model, tokens, **options)


def measure_arch(arch: str) -> tuple[str, ...]:
    """The largest error of its tiny models and of its files."""
    of_tiny, of_files = [], []
    for name in oracles_of(arch).tiny:
        tensors = tensors_of(name)
        model = build_graph(metadata_of(name), tensors, name, N_CTX), tensors
        expected = np.load(TESTS / "data/tiny" / f"{name}.npz")["logits"]
        for got in errors(model, TOKENS, kv_type="f32", n_ctx=N_CTX):
            of_tiny.append(nmse(got, expected))
    for name in oracles_of(arch).files:
        oracle = np.load(TESTS / "data/arch" / f"{name}.npz")
        for got in errors(open_model(arch_file(name)), oracle["tokens"]):
            rows = zip(got, oracle["logits"], strict=True)
            of_files.append(float(np.median([nmse(a, b) for a, b in rows])))
    return written(max(of_tiny, default=None)), written(max(of_files, default=None))


def measure_format(qtype: str) -> tuple[str, ...]:
    model = open_model(data_folder() / "quant" / f"llama-{qtype}.gguf")
    expected = np.load(TESTS / "data/quant" / f"llama-{qtype}.npz")["logits"]
    return (written(nmse(logits_of(cpu, model, QUANT_TOKENS), expected)),)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def render(numbers: Numbers) -> str:
    """The whole file; errors that are not known are left open."""
    names = supported()
    counts = Counter(key for arch in names for key in keys_of(arch)[0])
    common = {key for key, n in counts.items() if 2 * n > len(names)}
    unseen = sorted(common.difference(*(keys_of(arch)[1] for arch in names)))
    arch_rows = []
    for arch in names:
        found, (asked, present) = oracles_of(arch), keys_of(arch)
        tiny, of_files = numbers.get(arch, (NONE, NONE))
        missing = quoted(sorted(asked - present - common)) or NONE
        files = formats_in(found.files)
        row = (makers(found.tiny), tiny, files, of_files, missing)
        arch_rows.append((f"`{arch}`", models_of(arch), *row))
    bits = {q.name: f"{8 * q.block_bytes / q.block_size:.4g}" for q in WEIGHT_TYPES}
    format_rows = [
        (f"`{name}`", bits[name], *numbers.get(name, (NONE,)), peer_error(name))
        for name in quant_oracles()
    ]
    head = HEAD.format(unseen=f"; no oracle at all has {quoted(unseen)}" if unseen else "")
    every_file = [name for arch in names for name in oracles_of(arch).files]
    of_oracles, of_kernels = formats_in(every_file, "_exps."), ", ".join(EXPERT_TYPES)
    formats = FORMATS.format(of_oracles=of_oracles, of_kernels=of_kernels)
    return head + table(ARCH_COLUMNS, arch_rows) + formats + table(FORMAT_COLUMNS, format_rows)


def numbers_in(text: str) -> dict[str, tuple[str, ...]]:
    """The errors that were measured, as they stand in the tables of the file."""
    found = {}
    for line in text.splitlines():
        cells = line.strip("| ").split(" | ")
        if line.startswith("| `"):
            at = (3, 5) if len(cells) == len(ARCH_COLUMNS) else (2,)
            found[cells[0].strip("`")] = tuple(cells[i] for i in at)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    known = numbers_in(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    formats = list(quant_oracles())
    every = [*supported(), *formats]
    for name in options.names or [name for name in every if options.all or name not in known]:
        known[name] = measure_format(name) if name in formats else measure_arch(name)
        print(f"{name}: {', '.join(known[name])}", flush=True)
    TARGET.write_text(render(known), encoding="utf-8")


if __name__ == "__main__":
    main()
