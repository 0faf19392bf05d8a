"""Cuts a graph at layer borders into parts that different executors run one after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from qrt.errors import BackendError
from qrt.graph.graph import Graph
from qrt.graph.ops.receive import Receive


def cut(graph: Graph, borders: Iterable[int]) -> list[Graph]:
    """The parts of `graph`, a new one beginning at each layer of `borders`, which rise.

    What precedes the layers stays with the first of them, what follows with the last. A part ends
    on its hidden states, which the next one receives. Every part has all state groups, so that
    tables fit, with the layers that are its own. Raises BackendError where more than one value
    crosses a border, or what a layer remembers, and for a decoder with an encoder beside it.
    """
    if graph.decoder_start is not None:
        raise BackendError(
            f"{graph.arch} cannot be cut: its encoder and its decoder run on different rows; run "
            "all layers on one backend"
        )
    firsts = [0, *(graph.starts[layer] for layer in borders), len(graph.ops)]
    crossing = [_crossing(graph, first) for first in firsts[1:-1]]
    parts = []
    for number, (first, end) in enumerate(pairwise(firsts)):
        ops = graph.ops[first:end]
        if number > 0:
            value = crossing[number - 1]
            ops = (Receive(value, graph.widths[value]), *ops)
        own = {use.name for op in ops for use in op.weights(graph.widths)}
        kept = {key for op in ops for key in op.state_writes}
        parts.append(
            replace(
                graph,
                ops=ops,
                starts=tuple(at - first + (number > 0) for at in graph.starts if first <= at < end),
                output=crossing[number] if number < len(crossing) else graph.output,
                weights={name: shape for name, shape in graph.weights.items() if name in own},
                states=tuple(
                    replace(group, layers=tuple(n for n in group.layers if (group.kind, n) in kept))
                    for group in graph.states
                ),
            )
        )
    return parts


def _crossing(graph: Graph, first: int) -> str:
    """The one value that is made before op `first` and read from there on."""
    made = {op.out for op in graph.ops[:first]}
    values = {value for op in graph.ops[first:] for value in op.reads if value in made}
    written = {state for op in graph.ops[:first] for state in op.state_writes}
    if any(state in written for op in graph.ops[first:] for state in op.state_reads):
        raise BackendError(
            f"{graph.arch} cannot be cut before op {first}: layers behind it attend to keys and "
            "values of layers before it; run all layers on one backend"
        )
    if len(values) != 1:
        raise BackendError(
            f"{graph.arch} cannot be cut before op {first}: {len(values)} values cross the border, "
            "expected the hidden states alone; run all layers on one backend"
        )
    return values.pop()
