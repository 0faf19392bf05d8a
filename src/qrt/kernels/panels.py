"""How each block format lies in a panel of 16 rows. Plain data, no numba.

A panel holds its rows' blocks side by side: every field of a block is taken 16 rows at a time, as
halves (16 x 2 bytes) or words (16 x 4 bytes), so a packed panel has exactly the bytes of its rows
in the file. Four bytes of codes are four consecutive k of one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qrt.kernels.layout import PACK_FIELD, fill

Change = Literal["none", "flip", "sort"]


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes of a block that are moved together: `count` units of `unit` bytes from `offset`."""

    offset: int
    count: int
    unit: int = 4
    change: Change = "none"


@dataclass(frozen=True, slots=True)
class PanelFormat:
    """A block format's packed fields in order, and how its codes are to be read.

    A weight is scale * (code - zero) - min. `scales` and `mins` count them per 32 values. `bits` is
    the width of a code; 0 marks plain floating-point values.
    """

    qtype: str
    block_size: int
    block_bytes: int
    fields: tuple[Field, ...]
    bits: int
    zero: int = 0
    scales: int = 1
    mins: int = 0

    @property
    def quantized(self) -> bool:
        """Whether activations are quantized too."""
        return self.bits > 0

    def table(self, n_in: int) -> list[int]:
        """The fields as PACK_FIELD records; a row of `n_in` plain numbers counts as one block."""
        changes = {"none": 0, "flip": 1, "sort": 2}
        return [
            number
            for f in self.fields
            for number in fill(
                PACK_FIELD,
                {
                    "offset": f.offset,
                    "count": f.count if self.quantized else n_in,
                    "unit": f.unit,
                    "change": changes[f.change],
                },
            )
        ]


def _half(offset: int) -> Field:
    return Field(offset, 1, unit=2)


PANEL_FORMATS: dict[str, PanelFormat] = {
    f.qtype: f
    for f in (
        PanelFormat("F32", 1, 4, (Field(0, 1),), bits=0),
        PanelFormat("F16", 1, 2, (_half(0),), bits=0),
        PanelFormat("BF16", 1, 2, (_half(0),), bits=0),
        PanelFormat("Q4_0", 32, 18, (_half(0), Field(2, 4)), bits=4, zero=8),
        PanelFormat("Q4_1", 32, 20, (_half(0), _half(2), Field(4, 4)), bits=4, mins=1),
        PanelFormat(
            "Q5_0", 32, 22, (_half(0), Field(2, 1, change="sort"), Field(6, 4)), bits=5, zero=16
        ),
        PanelFormat(
            "Q5_1",
            32,
            24,
            (_half(0), _half(2), Field(4, 1, change="sort"), Field(8, 4)),
            bits=5,
            mins=1,
        ),
        PanelFormat("Q8_0", 32, 34, (_half(0), Field(2, 8, change="flip")), bits=8, zero=128),
        PanelFormat(
            "Q2_K", 256, 84, (_half(80), _half(82), Field(0, 4), Field(16, 16)),
            bits=2, scales=2, mins=2,
        ),
        PanelFormat(
            "Q3_K", 256, 110, (_half(108), Field(96, 3), Field(0, 8), Field(32, 16)),
            bits=3, zero=4, scales=2,
        ),
        PanelFormat(
            "Q4_K", 256, 144, (_half(0), _half(2), Field(4, 3), Field(16, 32)), bits=4, mins=1
        ),
        PanelFormat(
            "Q5_K", 256, 176, (_half(0), _half(2), Field(4, 3), Field(16, 8), Field(48, 32)),
            bits=5, mins=1,
        ),
        PanelFormat(
            "Q6_K", 256, 210,
            (_half(208), Field(192, 4), Field(0, 16), Field(128, 8), Field(64, 16), Field(160, 8)),
            bits=6, zero=32, scales=2,
        ),
        PanelFormat("IQ4_NL", 32, 18, (_half(0), Field(2, 4)), bits=8, zero=128),
        PanelFormat(
            "IQ4_XS", 256, 136, (_half(0), _half(2), Field(4, 1), Field(8, 32)), bits=8, zero=128
        ),
    )
}  # fmt: skip
