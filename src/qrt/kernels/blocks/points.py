"""From the numbers of an IQ grid's points to codes, in the way that the tier does best."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks import gathered, permuted
from qrt.kernels.instructions import offers, register_lanes
from qrt.kernels.jit import inline
from qrt.kernels.vectors import LANES


def early(numbers: Any) -> tuple[Any, Any]:
    """first(p), and step(p, i, known): the numbers of the points of step i of 8 and what is known
    of the next.

    numbers(p, i) makes them, or what is found for them. Where registers suffice it does so a step
    ahead, so that points need not wait: the sums of a step fill the queues of a core.
    """

    @inline
    def nothing(p):
        return 0

    @inline
    def now(p, i, known):
        return numbers(p, i), known

    @inline
    def first(p):
        return numbers(p, 0)

    @inline
    def ahead(p, i, known):
        return known, numbers(p, (i + 1) & 7)

    wait = register_lanes() < LANES
    return (nothing, now) if wait else (first, ahead)


def signed_eights(name: str, indices: Any, in_words: Any) -> tuple[Any, Any]:
    """codes(numbers, signs), the codes of 32 values from four points of 8, and numbers(points,
    tops) that it wants: `indices`, four vectors, where points are gathered, else what is found for
    `in_words`, a byte of one word for each point and what belongs above it in another.
    """
    if permuted.looks_up(name):
        return permuted.signed_eights(name, in_words)
    way = permuted.gathered_eights if offers("lookup64") else gathered.signed_eights
    return way(name), indices


def signed_fours(name: str, indices: Any) -> Any:
    """`gathered.signed_fours`, or the same by permutes."""
    if offers("lookup64"):
        return permuted.signed_fours(name)
    return gathered.signed_fours(name, indices)
