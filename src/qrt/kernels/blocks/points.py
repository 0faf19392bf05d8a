"""From the numbers of an IQ grid's points to codes, in the way that the tier does best."""

from __future__ import annotations

from typing import Any

from qrt.formats.quants.grids import levels
from qrt.kernels.blocks import gathered, permuted
from qrt.kernels.instructions import offers, register_lanes
from qrt.kernels.jit import inline
from qrt.kernels.vectors import LANES


def early(numbers: Any) -> tuple[Any, Any]:
    """first(p), and step(p, i, known): the numbers of the points of step i of 8 and what is known
    of the next.

    numbers(p, i) makes them. Where registers suffice it does so a step ahead, so that the gathers
    need not wait: the sums of a step fill the queues of a core.
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

    return (first, ahead) if register_lanes() == LANES else (nothing, now)


def signed_eights(name: str, indices: Any) -> tuple[Any, Any]:
    """codes(numbers, signs), the codes of 32 values from four points of 8, and numbers(points,
    tops) that it wants: `indices`, where points are gathered.
    """
    if not offers("lookup64"):
        return gathered.signed_eights(name), indices
    if len(levels(name)) > permuted.MOST:
        return permuted.gathered_eights(name), indices
    return permuted.signed_eights(name), permuted.only_points


def signed_fours(name: str, indices: Any) -> Any:
    """`gathered.signed_fours`, or the same by permutes."""
    if offers("lookup64"):
        return permuted.signed_fours(name)
    return gathered.signed_fours(name, indices)
