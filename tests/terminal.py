"""A terminal in memory, which knows no more than the command line may send: see `SEQUENCE`."""

from __future__ import annotations

import re

from rich.cells import get_character_cell_size

SEQUENCE = re.compile(r"\x1b\[(\d*A|J|[\d;]*m|\?2026[hl])|([^\x1b])", re.DOTALL)


class _Row(list):
    """A (character, style) for each column."""

    goes_on = False
    """The terminal folded it: it is one line with the row below."""


class Terminal:
    """`rows` are all that was ever shown."""

    def __init__(self, width, height=50):
        self.width, self.height = width, height
        self.rows, self.y, self.x, self.style = [_Row()], 0, 0, ""

    def feed(self, text):
        at = 0
        while at < len(text):
            found = SEQUENCE.match(text, at)
            assert found, f"no terminal is sent {text[at : at + 20]!r}"
            at = found.end()
            if found[2]:
                self.put(found[2])
            elif found[1].endswith("A"):
                n = int(found[1][:-1] or 1)
                assert n <= self.y - self.top, "the window ends there"
                self.y -= n
            elif found[1] == "J":
                del self.rows[self.y + 1 :]
                del self.rows[self.y][self.x :]
                self.rows[self.y].goes_on = False
            elif found[1].endswith("m"):
                self.style = found[1][:-1].removeprefix("0")
        return self

    @property
    def top(self):
        return max(0, len(self.rows) - self.height)

    def put(self, character):
        if character == "\r":
            self.x = 0
        elif character == "\n":
            self.new_row()
        elif character == "\t":
            n = 8 - self.x % 8
            self.rows[self.y] += [("\t", self.style), *[("", "")] * (n - 1)]
            self.x += n
        elif width := get_character_cell_size(character):
            assert character.isprintable()
            if self.x + width > self.width:
                self.rows[self.y].goes_on = True
                self.new_row()
            row = self.rows[self.y]
            row += [(" ", "")] * (self.x - len(row))
            row[self.x : self.x + width] = [(character, self.style), *[("", "")] * (width - 1)]
            self.x += width
        elif self.x:
            shown, style = self.rows[self.y][self.x - 1]
            self.rows[self.y][self.x - 1] = shown + character, style

    def new_row(self):
        self.x, self.y = 0, self.y + 1
        if self.y == len(self.rows):
            self.rows.append(_Row())

    @property
    def text(self):
        """What is shown, as it would be copied."""
        lines = ["".join(c for c, _ in row) + "\n" * (not row.goes_on) for row in self.rows]
        return re.sub(r" +\n", "\n", "".join(lines))
