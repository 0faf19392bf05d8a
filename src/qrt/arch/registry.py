"""Every architecture by the name that files give it, and the way from a file to its graph."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from qrt.arch import architectures
from qrt.arch.decoder import Decoder
from qrt.arch.source import Source
from qrt.arch.unsupported import closest, no_model
from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor
from qrt.graph.graph import Graph

WITH_UNDERSCORES = {
    "ernie4_5": "ernie4_5",
    "ernie4_5_moe": "ernie4_5-moe",
    "nemotron_h": "nemotron_h",
    "nemotron_h_moe": "nemotron_h_moe",
    "seed_oss": "seed_oss",
}
"""Architectures that files do not spell with hyphens alone, by the names of their files here."""


def architecture_names() -> tuple[str, ...]:
    """The architectures there are: one for each file in `arch/architectures`."""
    files = (file.name for file in pkgutil.iter_modules(architectures.__path__))
    return tuple(sorted(WITH_UNDERSCORES.get(file, file.replace("_", "-")) for file in files))


def build_graph(
    metadata: Mapping[str, object],
    tensors: Mapping[str, QTensor],
    where: str,
    n_ctx: int | None = None,
    *,
    embedding: bool | None = None,
) -> Graph:
    """The graph of a model file, every hyperparameter and every tensor checked.

    This is the gate: whatever passes it, kernels may take by pointer. `where` names the file in
    messages; `n_ctx` is how many positions a sequence will have, None: as many as in training. A
    file that names a pooling gives a graph of hidden states, unless `embedding` is False and the
    model can answer; with `embedding` any file does.
    Raises ArchError: a file that is no model; unknown architecture; a hyperparameter that is
    missing, of the wrong type or out of range; a tensor that is missing, misshapen, in an unfit
    format or unused.
    """
    kind = no_model(metadata, tensors)
    if kind is not None:
        raise ArchError(f"{where}: {kind}")
    name = metadata.get("general.architecture")
    source = Source(str(name), metadata, tensors, where, n_ctx)
    known = architecture_names()
    if not isinstance(name, str) or name not in known:
        expected = f"one of the {len(known)} that qrt knows"
        wrong = source.wrong("key 'general.architecture'", expected, name)
        raise ArchError(f"{wrong}; {closest(source, known, architecture)}")
    graph = architecture(name)(source).build(embedding)
    used = graph.weights | graph.head_weights
    for weight, shape in used.items():
        source.check_tensor(weight, shape)
    unused = sorted(tensors.keys() - used.keys() - graph.unused)
    if unused:
        shown = ", ".join(repr(tensor) for tensor in unused[:4])
        more = f" and {len(unused) - 4} more" if len(unused) > 4 else ""
        raise ArchError(f"{where}: {name} has no use for tensor {shown}{more}")
    return graph


def architecture(name: str) -> type[Decoder]:
    """The class of a known architecture."""
    file = f"{architectures.__name__}.{name.replace('-', '_')}"
    found: type[Decoder] = importlib.import_module(file).Architecture
    return found
