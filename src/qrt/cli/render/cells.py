"""Cells and rows of a terminal: wide characters count twice, words stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

Cell = tuple[str, str]
"""A character with what combines with it, and its style: the numbers of an SGR sequence."""
Row = tuple[Cell, ...]

PLAIN, BOLD, DIM, ITALIC, UNDERLINED, STRUCK = "", "1", "2", "3", "4", "9"
CODE = "36"
"""Cyan, which can be read on dark and on light."""

_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_TAB = 8
_NARROW = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2500-\u25fc]*")
"""Characters of one column that are so frequent that rich need not be imported for them."""
_CLOSING = frozenset(".,;:!?)]}%。，、．：；！？）」』】〕〉》”’…ー")
"""Characters that never begin a row."""


def cells_of(text: str, style: str = PLAIN) -> list[Cell]:
    """The cells of a text in one style."""
    if text.isascii():
        return [(character, style) for character in text]
    cells: list[Cell] = []
    for character in text:
        before = cells[-1][0] if cells else ""
        if before and (width_of(character) == 0 or before.endswith(_JOINER)):
            cells[-1] = (before + character, style)
        else:
            cells.append((character, style))
    return cells


def text_of(cells: Iterable[Cell]) -> str:
    """What the cells say."""
    return "".join(text for text, _ in cells)


def lines_of(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """The lines of a text with newlines in it; one that is empty at the end is none."""
    line: list[Cell] = []
    is_first = True
    for cell in cells:
        if cell[0] == "\n":
            yield line
            line, is_first = [], False
        else:
            line.append(cell)
    if line or is_first:
        yield line


def columns(cells: Iterable[Cell]) -> int:
    """How many columns the cells take."""
    return sum(width_of(text) for text, _ in cells)


@lru_cache(maxsize=4096)
def width_of(text: str) -> int:
    """The columns of a cell; where terminals differ, the most that any of them takes."""
    if text == "\t":
        return _TAB
    if _NARROW.fullmatch(text):
        return len(text)
    from rich.cells import get_character_cell_size

    width = sum(map(get_character_cell_size, text))
    return width + (width == 1 and _EMOJI_STYLE in text)


def height(row: Row, width: int) -> int:
    """Rows of a window that a row takes: a longer one is folded by the terminal."""
    return max(1, -(-columns(row) // width))


def sgr(cells: Iterable[Cell]) -> str:
    """The cells as a terminal takes them, its style at the end as it was."""
    runs = ((style, text_of(run)) for style, run in groupby(cells, key=itemgetter(1)))
    return "".join(f"\x1b[{style}m{text}\x1b[0m" if style else text for style, text in runs)


def styled(style: str, more: str) -> str:
    """Both styles at once."""
    return f"{style};{more}" if style and more else style or more


def wrap(
    cells: Sequence[Cell], width: int, first: Sequence[Cell] = (), rest: Sequence[Cell] = ()
) -> list[Row]:
    """Rows of at most `width` columns, the first behind `first` and the others behind `rest`.

    They are cut at white space, which goes, and between characters of scripts without any. A word
    that is wider than a row has one to itself; the terminal folds it, and copies it whole.
    """
    rows: list[Row] = []
    row = list(first)
    used, is_fresh = columns(first), True
    gap: list[Cell] = []
    for is_gap, run in runs(cells):
        if is_gap:
            gap = run
            continue
        n_gap, n_run = columns(gap), columns(run)
        if not is_fresh and used + n_gap + n_run > width:
            rows.append(tuple(row))
            row, used, gap, n_gap = list(rest), columns(rest), [], 0
        row += gap + run
        used += n_gap + n_run
        gap, is_fresh = [], False
    return [*rows, tuple(row)]


def runs(cells: Iterable[Cell]) -> Iterator[tuple[bool, list[Cell]]]:
    """(is it white space, cells) of what a row may not be cut within."""
    run: list[Cell] = []
    last = ""
    for cell in cells:
        kind = _kind(cell[0])
        if kind == "closing":
            is_cut = last == "gap"
            kind = "word" if last in ("", "gap") else last
        else:
            is_cut = kind != last or kind == "wide"
        if run and is_cut:
            yield last == "gap", run
            run = []
        run.append(cell)
        last = kind
    if run:
        yield last == "gap", run


def _kind(text: str) -> str:
    if text in (" ", "\t"):
        return "gap"
    if text[0] in _CLOSING:
        return "closing"
    is_hangul = "\uac00" <= text[0] <= "\ud7a3"
    return "wide" if not text.isascii() and width_of(text) > 1 and not is_hangul else "word"
