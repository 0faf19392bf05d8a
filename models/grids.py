"""Writes src/qrt/data/grids.npz, the grids of the IQ formats, from the gguf package."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf import quants
from numpy.typing import NDArray

from qrt.formats.quants.grids import LEVELS

PEERS = {name: "IQ1_S" if name == "IQ1" else name for name in LEVELS}
OUT = Path(__file__).parent.parent / "src" / "qrt" / "data" / "grids.npz"


def peer_grid(name: str) -> NDArray[np.float32]:
    """The numbers of a grid of LEVELS as the gguf package has them, (n_points, point_size)."""
    peer = quants._type_traits[gguf.GGMLQuantizationType[PEERS[name]]]
    peer.init_grid()
    return peer.grid.reshape(peer.grid_shape)


def main() -> None:
    grids = {
        name: np.searchsorted(numbers, peer_grid(name)).astype(np.uint8)
        for name, numbers in LEVELS.items()
    }
    np.savez_compressed(OUT, **grids)


if __name__ == "__main__":
    main()
