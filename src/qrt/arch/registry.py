"""Every architecture by the name that files give it, and the way from a file to its graph."""

from __future__ import annotations

from collections.abc import Mapping

from qrt.arch.decoder import Decoder
from qrt.arch.llama import Llama
from qrt.arch.qwen2 import Qwen2
from qrt.arch.qwen3 import Qwen3
from qrt.arch.source import Source
from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor
from qrt.graph.ir import Graph

ARCHITECTURES: dict[str, type[Decoder]] = {
    "llama": Llama,
    "qwen2": Qwen2,
    "qwen3": Qwen3,
}


def build_graph(
    metadata: Mapping[str, object], tensors: Mapping[str, QTensor], where: str
) -> Graph:
    """The graph of a model file, every hyperparameter and every tensor checked.

    This is the gate: whatever passes it, kernels may take by pointer. `where` names the file in
    messages. Raises ArchError: unknown architecture; a hyperparameter that is missing, of the
    wrong type or out of range; a tensor that is missing, misshapen, in an unfit format or unused.
    """
    name = metadata.get("general.architecture")
    source = Source(str(name), metadata, tensors, where)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        expected = f"one of {', '.join(ARCHITECTURES)}"
        raise source.wrong("key 'general.architecture'", expected, name)
    graph = ARCHITECTURES[name](source).build()
    for weight, shape in graph.weights.items():
        source.check_tensor(weight, shape)
    unused = sorted(tensors.keys() - graph.weights.keys() - graph.unused)
    if unused:
        shown = ", ".join(repr(tensor) for tensor in unused[:4])
        more = f" and {len(unused) - 4} more" if len(unused) > 4 else ""
        raise ArchError(f"{where}: {name} has no use for tensor {shown}{more}")
    return graph
