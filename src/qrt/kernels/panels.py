"""How each block format lies in a panel of 16 rows. Plain data, no numba.

A panel holds its rows' blocks side by side: every field of a block is taken 16 rows at a time, as
bytes, halves (16 x 2 bytes) or words (16 x 4 bytes), so a packed panel has exactly the bytes of its
rows in the file. Four bytes of codes are four consecutive k of one row; where a file has them
otherwise, bits change places within a word as it is packed. IQ1 and IQ2_S have panels of a layout
of their own, which `expand` makes of those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from qrt.kernels.layout import PACK_FIELD, fill

Change = Literal["none", "flip", "sort", "quarters", "signs", "short signs", "points"]
CHANGES: tuple[Change, ...] = get_args(Change)
"""What may happen to the bits of a packed unit: flip turns over the top one of each byte."""

_SIGNS = tuple(8 * (e % 4) + e // 8 + 4 * (e // 4 % 2) for e in range(32))
_SHORT_SIGNS = (*(_SIGNS[e] for e in range(32) if e % 8 < 7), 28, 29, 30, 31)

ORDERS: dict[Change, tuple[int, ...]] = {
    "sort": tuple(8 * (e % 4) + e // 4 for e in range(32)),
    "quarters": tuple(8 * (e // 2 % 4) + 2 * (e // 8) + e % 2 for e in range(32)),
    "signs": _SIGNS,
    "short signs": _SHORT_SIGNS,
    "points": tuple(
        at
        for e in range(4)
        for at in (
            *(range(9 * e, 9 * e + 9) if e < 3 else (*range(60, 64), *range(27, 32))),
            *(32 + _SIGNS[8 * e + i] for i in range(7)),
        )
    ),
}
"""Where each bit of a unit goes, the lowest first.

sort: element 4 g + b, of one bit, to bit g of byte b. quarters: element 4 g + b, of two, to bits
2 g and 2 g + 1 of byte b. signs: element 4 g + b to bit g / 2 of byte b for even g, 4 + g / 2 for
odd g. short signs: the same for seven of each eight elements, and four bits where the eighths would
be; of a unit of 8 bytes the second word. points: four times nine bits of a point and seven signs,
to 36 bits of points, of which the lowest four of the last stand above a word of short signs.
"""


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes of a block that are moved together: `count` units of `unit` bytes from `offset`.

    A unit of 8 bytes is two words, which lie in the panel one after the other.
    """

    offset: int
    count: int
    unit: int = 4
    change: Change = "none"


@dataclass(frozen=True, slots=True)
class PanelFormat:
    """A block format's packed fields in order, and how its codes are to be read.

    A weight is scale * (code - zero) - min. `scales` and `mins` count them per 32 values. `bits` is
    the width of a code; 0 marks plain floating-point values. `expanded` is the bytes of a row's
    block where `expand` lays panels out anew, else 0.
    """

    qtype: str
    block_size: int
    block_bytes: int
    fields: tuple[Field, ...]
    bits: int
    zero: int = 0
    scales: int = 1
    mins: int = 0
    expanded: int = 0

    @property
    def panel_bytes(self) -> int:
        """Bytes of a block of 16 rows in its panel."""
        return 16 * (self.expanded or self.block_bytes)

    @property
    def quantized(self) -> bool:
        """Whether activations are quantized too."""
        return self.bits > 0

    def table(self, n_in: int) -> list[int]:
        """The fields as PACK_FIELD records; a row of `n_in` plain numbers counts as one block."""
        return [
            number
            for f in self.fields
            for number in fill(
                PACK_FIELD,
                {
                    "offset": f.offset,
                    "count": f.count if self.quantized else n_in,
                    "unit": f.unit,
                    "change": CHANGES.index(f.change),
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
        PanelFormat("MXFP4", 32, 17, (Field(0, 1, unit=1), Field(1, 4)), bits=5, zero=12),
        PanelFormat("NVFP4", 64, 36, (Field(0, 1), Field(4, 8)), bits=5, zero=12, scales=2),
        PanelFormat(
            "IQ3_S", 256, 110,
            (_half(0), Field(106, 1), Field(66, 2), Field(74, 8, change="signs"), Field(2, 16)),
            bits=5, zero=16,
        ),
        PanelFormat(
            "IQ3_XXS", 256, 98, (_half(0), Field(66, 8, change="short signs"), Field(2, 16)),
            bits=7, zero=64,
        ),
        PanelFormat(
            "IQ2_S", 256, 82,
            (_half(0), Field(74, 2), Field(66, 2), Field(34, 8), Field(2, 8)),
            bits=7, zero=64, scales=2, expanded=98,
        ),
        PanelFormat(
            "IQ2_XS", 256, 74, (_half(0), Field(66, 2), Field(2, 8, unit=8, change="points")),
            bits=7, zero=64, scales=2,
        ),
        PanelFormat(
            "IQ2_XXS", 256, 66, (_half(0), Field(2, 8, unit=8, change="short signs")),
            bits=7, zero=64,
        ),
        PanelFormat(
            "IQ1_M", 256, 56, (Field(48, 2), Field(32, 4), Field(0, 8)),
            bits=5, zero=9, scales=2, expanded=64,
        ),
        PanelFormat(
            "IQ1_S", 256, 50, (_half(0), Field(34, 8, unit=2), Field(2, 8)),
            bits=2, zero=1, mins=1, expanded=58,
        ),
        PanelFormat("TQ2_0", 256, 66, (_half(64), Field(0, 16)), bits=2, zero=1),
        PanelFormat("TQ1_0", 256, 54, (_half(52), Field(48, 1), Field(0, 12)), bits=2, zero=1),
        PanelFormat("Q2_0", 64, 18, (_half(0), Field(2, 4, change="quarters")), bits=2, zero=1),
        PanelFormat("Q1_0", 128, 18, (_half(0), Field(2, 4, change="sort")), bits=2, zero=1),
    )
}  # fmt: skip
