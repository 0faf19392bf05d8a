"""Makes what matmuls and lookups read of a tensor, all at once or some of it at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.fetch import SHARE, Call, Fetcher, reader, run_calls
from qrt.backends.cpu.memory import address
from qrt.formats.qtensor import QTensor, Region
from qrt.kernels.layout import EXPAND, PACK, fill
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.team import Team, aligned

_ROWS_PIECE = 1 << 16


class Maker(Protocol):
    """Makes `n_bytes` from a tensor, in pieces of `piece_bytes`, of which the last may be short."""

    n_bytes: int
    piece_bytes: int

    def make(self, target: NDArray[np.uint8], start: int) -> None:
        """Fills `target` with whole pieces from byte `start` on.

        Raises GGUFError where the file changed since it was opened.
        """


def packing_kernels(qtypes: Iterable[str]) -> list[str]:
    """The kernels that make panels of some types."""
    return ["pack", *sorted({_expanding(name) for name in qtypes if PANEL_FORMATS[name].expanded})]


def packed_bytes(tensor: QTensor) -> int:
    """Bytes of a matrix, or of several in a row, in panels: whole panels of 16 rows each."""
    n_rows = tensor.matrix_rows
    return tensor.n_rows // n_rows * -(-n_rows // 16) * _panel_bytes(tensor)


def _expanding(qtype: str) -> str:
    """The kernel that lays panels of a type out anew."""
    return f"expand.{qtype}"


def _panel_bytes(tensor: QTensor) -> int:
    fmt = PANEL_FORMATS[tensor.qtype.name]
    return tensor.shape[-1] // fmt.block_size * fmt.panel_bytes


class Rows:
    """The rows of a table as they are in its file."""

    piece_bytes = _ROWS_PIECE

    def __init__(self, tensor: QTensor, library: Library, team: Team) -> None:
        assert isinstance(tensor.source, Region)
        self.n_bytes = tensor.n_bytes
        self._source = tensor.source
        self._fetcher = Fetcher(tensor.source.file, library, team)

    def make(self, target: NDArray[np.uint8], start: int) -> None:
        """See `Maker`."""
        self._fetcher.fetch([(self._source.start + start, target)])


class Panels:
    """The panels of a matrix, or of several. A thread packs what it has read itself."""

    def __init__(self, tensor: QTensor, library: Library, team: Team) -> None:
        self.n_bytes, self.piece_bytes = packed_bytes(tensor), _panel_bytes(tensor)
        self._tensor, self._library, self._team = tensor, library, team
        self._fmt = fmt = PANEL_FORMATS[tensor.qtype.name]
        n_in = tensor.shape[-1]
        n_blocks, block_bytes = n_in // fmt.block_size, fmt.block_bytes
        if not fmt.quantized:  # a row of plain numbers is one long block
            n_blocks, block_bytes = 1, tensor.row_bytes
        self._table = np.array(fmt.table(n_in), np.int64)
        self._fields = {
            "row_bytes": tensor.row_bytes,
            "n_blocks": n_blocks,
            "block_bytes": block_bytes,
            "fields": address(self._table),
            "n_fields": len(fmt.fields),
        }

    def make(self, target: NDArray[np.uint8], start: int) -> None:
        """See `Maker`."""
        tensor, row_bytes = self._tensor, self._tensor.row_bytes
        panels = range(start // self.piece_bytes, (start + target.size) // self.piece_bytes)
        if not (isinstance(tensor.source, Region) and reader()):
            chunks = self._chunks(panels, tensor.matrix_rows)
            first, (last, _, n_last) = chunks[0][0], chunks[-1]
            data = tensor.read(first * row_bytes, (last + n_last - first) * row_bytes)
            places = [address(data) + (row - first) * row_bytes for row, _, _ in chunks]
            between = self._between(chunks)
            packing = self._calls(chunks, places, target, between)
            run_calls([call for each in packing for call in each], self._library, self._team)
            return
        unit = 16 * row_bytes
        chunks = self._chunks(panels, 16 * max(1, self._team.n_threads * SHARE // unit))
        room, between = aligned(max(n for _, _, n in chunks) * row_bytes), self._between(chunks)
        fetcher = Fetcher(tensor.source.file, self._library, self._team)
        calls: list[Call] = []
        packing = self._calls(chunks, [address(room)] * len(chunks), target, between)
        for (row, _, n), each in zip(chunks, packing, strict=True):
            at = tensor.source.start + row * row_bytes
            calls += fetcher.call(at, n * row_bytes, address(room), unit), *each
        fetcher.run(calls)

    def _between(self, chunks: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
        """Room for panels as they are before they are laid out anew; none where they are not."""
        rows = max(-(-n // 16) * 16 for _, _, n in chunks) if self._fmt.expanded else 0
        return aligned(rows * self._tensor.row_bytes)

    def _chunks(self, panels: range, at_once: int) -> list[tuple[int, int, int]]:
        """(row in the file, first panel after that of `panels`, rows) of at most so many rows."""
        n_rows = self._tensor.matrix_rows
        each = -(-n_rows // 16)
        chunks, panel = [], panels.start
        while panel < panels.stop:
            matrix, own = divmod(panel, each)
            end = min(own + -(-at_once // 16), each, own + panels.stop - panel)
            n = min(16 * end, n_rows) - 16 * own
            chunks.append((matrix * n_rows + 16 * own, panel - panels.start, n))
            panel += end - own
        return chunks

    def _calls(
        self,
        chunks: list[tuple[int, int, int]],
        places: list[int],
        target: NDArray[np.uint8],
        between: NDArray[np.uint8],
    ) -> list[list[Call]]:
        """The calls that pack each chunk of rows, which lie at `places`."""
        calls = []
        for i, ((_, panel, n), source) in enumerate(zip(chunks, places, strict=True)):
            # threads share out as many rows in the same way
            barrier = i + 1 == len(chunks) or chunks[i + 1][2] != n
            there = address(target) + panel * self.piece_bytes
            packed = address(between) if between.size else there
            values = {"source": source, "target": packed, "n_rows": n, **self._fields}
            each = [Call("pack", fill(PACK, values), barrier and not between.size)]
            if between.size:
                values = {
                    "source": packed,
                    "target": there,
                    "n_panels": -(-n // 16),
                    "n_blocks": self._fields["n_blocks"],
                }
                each.append(Call(_expanding(self._fmt.qtype), fill(EXPAND, values), barrier))
            calls.append(each)
        return calls
