"""From the numbers of an IQ grid's points to codes, in the way that the tier does best."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks import gathered, permuted
from qrt.kernels.instructions import offers


def signed_eights(name: str, indices: Any, tops_at: tuple[int, ...]) -> Any:
    """`gathered.signed_eights`, or the same by permutes."""
    if offers("lookup64"):
        return permuted.signed_eights(name, indices, tops_at)
    return gathered.signed_eights(name, indices)


def signed_fours(name: str, indices: Any) -> Any:
    """`gathered.signed_fours`, or the same by permutes."""
    if offers("lookup64"):
        return permuted.signed_fours(name)
    return gathered.signed_fours(name, indices)
