"""Which files of a repository are one model: its splits together, its quantization by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from qrt.errors import ModelError
from qrt.hub.names import HubName, is_file

DEFAULT_QUANT = "Q4_K_M"
_DEFAULTS = (
    *(DEFAULT_QUANT, "UD-Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1"),
    *("MXFP4", "MXFP4_MOE", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0"),
)
"""What is taken of a repository where no quantization is named: the first that it has."""

BITS = {"Q4_K_M": 4.9, "UD-Q4_K_M": 4.9, "MXFP4": 4.5, "Q8_0": 8.5}
"""About how many bits a parameter takes, on the mean of a file."""

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_NO_MODEL = re.compile(r"(?:^|[-._/])(?:mmproj|imatrix)|imatrix\.gguf$", re.IGNORECASE)
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `sha256` is None where the hub keeps none."""

    name: str
    n_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class HubModel:
    """The files of one model, the first split first."""

    files: tuple[HubFile, ...]

    @property
    def name(self) -> str:
        """The file that is opened."""
        return self.files[0].name

    @property
    def quant(self) -> str | None:
        """The quantization that the name tells, in upper case."""
        found = re.search(rf"(?:^|[-._/])({_quant_names()})$", _stem(self.name), re.IGNORECASE)
        return found[1].upper() if found else None

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.n_bytes for file in self.files)


def models_in(files: Iterable[HubFile]) -> list[HubModel]:
    """The complete models among files; names that are no GGUF file, or not safe, are left out."""
    groups: dict[str, dict[int, HubFile]] = {}
    counts: dict[str, int] = {}
    for file in files:
        if not is_file(file.name) or _NO_MODEL.search(file.name):
            continue
        split = _SPLIT.fullmatch(file.name)
        key = f"{split['stem']}-of-{split['count']}" if split else file.name
        groups.setdefault(key, {})[int(split["no"]) if split else 1] = file
        counts[key] = int(split["count"]) if split else 1
    return [
        HubModel(tuple(group[no] for no in sorted(group)))
        for key, group in sorted(groups.items())
        if sorted(group) == list(range(1, counts[key] + 1))
    ]


def is_quant(text: str) -> bool:
    """Whether a text can name a quantization."""
    return re.fullmatch(_quant_names(), text, re.IGNORECASE) is not None


@functools.cache
def _quant_names() -> str:
    """A pattern of all quantizations: a mix of formats is named after the one that it is mostly of,
    with letters for its size or kind, as Q4_K_XL and MXFP4_MOE are.
    """
    from qrt.formats.quants import WEIGHT_TYPES

    families = {qtype.name.partition("_")[0] for qtype in WEIGHT_TYPES} | {"FP16", "FP32"}
    return rf"(?:UD-)?(?:{'|'.join(sorted(families))})(?:_[0-9A-Z]+)*"


def choose(models: Iterable[HubModel], name: HubName, preferred: str = DEFAULT_QUANT) -> HubModel:
    """The model that a name asks for; `preferred` where it names no quantization, or what is
    nearest to it. Names mean the same in any case.

    Raises ModelError, naming what there is.
    """
    models = list(models)
    if name.file is not None:
        wanted = name.file.lower()
        found = [model for model in models if wanted in (f.name.lower() for f in model.files)]
    elif name.quant is not None:
        found = [model for model in models if model.quant == name.quant.upper()]
    else:
        quants = [model.quant for model in models]
        order = [quant for quant in (preferred, *_DEFAULTS) if quant in quants]
        found = [model for model in models if [model.quant] == order[:1]]
        if not found and len(models) == 1:
            found = models
    if len(found) == 1:
        return found[0]
    if not models:
        raise ModelError(f"{name.repo}: has no GGUF model")
    if found:
        raise ModelError(f"{name}: several files match; choose REPO:FILE of {_shown(found)}")
    wanted = name.file or name.quant or preferred
    raise ModelError(f"{name.repo}: has no {wanted}; choose {_shown(models)}")


def splits_of(name: str) -> list[str]:
    """The names of all files of the model that this one belongs to."""
    split = _SPLIT.fullmatch(name)
    if split is None:
        return [name]
    start, suffix = name[: split.start("no")], name[split.end("no") :]
    return [f"{start}{no:05d}{suffix}" for no in range(1, int(split["count"]) + 1)]


def _shown(models: list[HubModel]) -> str:
    quants = [model.quant for model in models]
    unique = len(set(quants)) == len(quants) and None not in quants
    names = [str(quant) for quant in quants] if unique else [model.name for model in models]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _stem(name: str) -> str:
    split = _SPLIT.fullmatch(name)
    return split["stem"] if split else name[: -len(".gguf")]
