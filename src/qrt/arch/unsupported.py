"""What a file is that no architecture runs, and which known architecture is closest to it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from qrt.arch.decoder import Decoder
from qrt.arch.source import Source, place
from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor

Find = Callable[[str], type[Decoder]]
"""The class of a known architecture."""

_MANY_BLOCKS = 8
"""More are alike; hostile files count up to 512."""
_NAME_LENGTH = 64
_ALIKE = 0.6
"""Names are alike from this share of equal letters on."""

PROJECTOR = (
    "is the projector of a multimodal model, which turns images or sound into embeddings; qrt runs "
    "the text side: open the model's own file"
)
ADAPTER = (
    "is an adapter (LoRA), no model; open its model with --lora FILE (in Python lora=[FILE]) to "
    "apply it"
)
VECTOR = "is a control vector, no model, and qrt cannot apply it: open the model it was made for"
IMATRIX = "is an importance matrix, which quantizing reads, no model: open the model itself"
VOCABULARY = "holds a vocabulary and no tensors; `qrt tokenize` reads it, to generate needs a model"
AHEAD = (
    "holds only the blocks that predict tokens further ahead (MTP), which qrt does not run: open "
    "the model's own file"
)

TYPES = {"mmproj": PROJECTOR, "adapter": ADAPTER, "imatrix": IMATRIX, "vocab": VOCABULARY}
"""Values of `general.type` of files that are no models."""
ARCHITECTURES = {"clip": PROJECTOR, "mmproj": PROJECTOR, "controlvector": VECTOR}
"""Values of `general.architecture` of such files."""
KEYS = {"adapter.type": ADAPTER, "imatrix.datasets": IMATRIX, "imatrix.chunk_count": IMATRIX}
"""Keys that only such files have."""


def no_model(metadata: Mapping[str, object], tensors: Mapping[str, QTensor]) -> str | None:
    """What a file is that is no model, and what to do; None for a model."""
    for key, kinds in (("general.type", TYPES), ("general.architecture", ARCHITECTURES)):
        value = metadata.get(key)
        if isinstance(value, str) and value in kinds:
            return kinds[value]
    found = next((kind for key, kind in KEYS.items() if key in metadata), None)
    if found is None and not tensors and "tokenizer.ggml.model" in metadata:
        return VOCABULARY
    if found is None and any(".nextn." in name for name in tensors):
        return None if any(name.startswith("blk.0.") for name in tensors) else AHEAD
    return found


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a file is from an architecture: names of tensors without `blk.N.`, and of keys."""

    arch: str
    lacks: tuple[str, ...]
    """Tensors that the architecture needs."""
    misshapen: tuple[str, ...]
    """Tensors that would need another shape or format."""
    beyond: tuple[str, ...]
    """Tensors that it has no use for."""
    unheeded: tuple[str, ...]
    """Keys that it does not read."""

    @property
    def n_tensors(self) -> int:
        return len(self.lacks) + len(self.misshapen) + len(self.beyond)

    def __str__(self) -> str:
        parts = {
            "lacks tensor": self.lacks,
            "has tensor": self.beyond,
            "has in another shape": self.misshapen,
            "has key": self.unheeded,
        }
        told = [f"{what} {_shown(names)}" for what, names in parts.items() if names]
        differs = f"but the file {', '.join(told)}" if told else "whose tensors and keys it has"
        return f"closest is {self.arch}, {differs}"


def closest(source: Source, known: Iterable[str], find: Find) -> str:
    """Says which known architecture would take most of a file's tensors and keys.

    Where none would take half of the tensors, those of similar names, and why the first of them
    does not fit. `find` gives the class of a known architecture, `source` is the file with the
    name that it has itself.
    """
    stated = source.metadata.get("general.architecture")
    name, cut = stated[:_NAME_LENGTH] if isinstance(stated, str) else "", _first_blocks(source)
    similar = {arch: difflib.SequenceMatcher(None, name, arch).ratio() for arch in known}
    distances, refusals = [], {}
    for arch in similar:
        try:
            distances.append(_distance(cut, arch, find))
        except ArchError as refusal:
            refusals[arch] = str(refusal).removeprefix(f"{source.where}: ")
    if distances:
        best = min(distances, key=lambda d: (d.n_tensors, len(d.unheeded), -similar[d.arch]))
        if 2 * best.n_tensors < len(cut.stems):
            return str(best)
    names = sorted((a for a in similar if similar[a] >= _ALIKE), key=lambda arch: -similar[arch])
    if not names:
        return "its tensors and keys are like none of theirs"
    why = f" ({refusals[names[0]]})" if names[0] in refusals else ""
    return f"by name it is like {', '.join([names[0] + why, *names[1:4]])}"


def _first_blocks(source: Source) -> Source:
    """The file as if it had few blocks: what is told of each block is cut with them."""
    n = source.metadata.get(f"{source.arch}.block_count")
    if type(n) is not int or n <= _MANY_BLOCKS:
        return source
    prefix, metadata = f"{source.arch}.", dict(source.metadata)
    for key, value in source.metadata.items():
        per_block = isinstance(value, np.ndarray | list | tuple) and len(value) == n
        if key.startswith(prefix) and per_block:
            metadata[key] = value[:_MANY_BLOCKS]  # type: ignore[index]
    metadata[f"{prefix}block_count"] = _MANY_BLOCKS
    metadata.pop(f"{prefix}nextn_predict_layers", None)
    tensors = {t: v for t, v in source.tensors.items() if (place(t)[0] or 0) < _MANY_BLOCKS}
    return replace(source, metadata=metadata, tensors=tensors)


class _Read(Mapping[str, object]):
    """Metadata that remembers the keys that were read."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self.metadata = metadata
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        self.read.add(key)
        return self.metadata[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metadata)

    def __len__(self) -> int:
        return len(self.metadata)


def _distance(source: Source, arch: str, find: Find) -> Distance:
    """How far a file is from an architecture. Raises ArchError where its keys give no graph."""
    own, other = f"{source.arch}.", f"{arch}."
    metadata = _Read(
        {
            other + key.removeprefix(own) if key.startswith(own) else key: value
            for key, value in source.metadata.items()
        }
    )
    renamed = replace(source, arch=arch, metadata=metadata)
    graph = find(arch)(renamed).build()
    lacks, misshapen = set(), set()
    used = graph.weights | graph.head_weights
    for weight, shape in used.items():
        if weight not in source.tensors:
            lacks.add(place(weight)[1])
            continue
        try:
            renamed.check_tensor(weight, shape)
        except ArchError:
            misshapen.add(place(weight)[1])
    beyond = {place(t)[1] for t in source.tensors.keys() - used.keys() - graph.unused}
    unheeded = {
        key.removeprefix(other)
        for key in metadata.keys() - metadata.read
        if key.startswith(other) and key != f"{other}vocab_size"
    }
    sets = (lacks, misshapen, beyond, unheeded)
    return Distance(arch, *(tuple(sorted(names)) for names in sets))


def _shown(names: tuple[str, ...]) -> str:
    """One of the names, and how many more there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return repr(names[0][:_NAME_LENGTH]) + more
