"""The grids of the IQ formats: a few points of a lattice, and the signs that go with them.

Magnitudes are told as levels: small numbers, the index of a magnitude in LEVELS.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

LEVELS: dict[str, tuple[int, ...]] = {
    "IQ1": (-1, 0, 1),
    "IQ2_XXS": (8, 25, 43),
    "IQ2_XS": (8, 25, 43),
    "IQ2_S": (8, 25, 43),
    "IQ3_XXS": (4, 12, 20, 28, 36, 44, 52, 62),
    "IQ3_S": (1, 3, 5, 7, 9, 11, 13, 15),
}


def grids_file() -> Traversable:
    """Made by models/grids.py: for each name of LEVELS its levels, (n_points, point_size)."""
    from importlib import resources  # its import takes longer than those of all formats together

    return resources.files("qrt") / "data" / "grids.npz"


@cache
def levels(name: str) -> NDArray[np.uint8]:
    """The points of a grid as levels, (n_points, point_size)."""
    with grids_file().open("rb") as file:
        points: NDArray[np.uint8] = np.load(file)[name]
    return points


@cache
def grid(name: str) -> NDArray[np.int8]:
    """The points of a grid as numbers, (n_points, point_size)."""
    numbers: NDArray[np.int8] = np.array(LEVELS[name], np.int8)[levels(name)]
    return numbers


def points(name: str, index: NDArray[Any]) -> NDArray[np.int8]:
    """The numbers of some points: (n_blocks, n) -> (n_blocks, n * point_size)."""
    found: NDArray[np.int8] = grid(name)[index]
    return found.reshape(len(index), -1)


def signs(bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """-1 where a bit is set, else 1, lowest bits first: (n_blocks, n) -> (n_blocks, 8 * n)."""
    return 1 - 2 * np.unpackbits(bits, axis=1, bitorder="little").view(np.int8)


def even_signs(bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """`signs` of 7 bits each and an eighth that makes the number of those set even."""
    parity = np.bitwise_xor.reduce([bits >> i for i in range(7)]) & 1
    return signs(bits | (parity << 7).astype(np.uint8))
