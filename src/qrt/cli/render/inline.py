"""Marks within a line of Markdown: bold, italic, code, links; parsed by markdown-it.

While a line is unfinished its open marks count as closed at its end, so that text is bold from its
first letter on, and what may be the start of a mark waits.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from qrt.cli.render.cells import (
    BOLD,
    CODE,
    DIM,
    ITALIC,
    PLAIN,
    STRUCK,
    UNDERLINED,
    Cell,
    cells_of,
    styled,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_STYLES = {"strong": BOLD, "em": ITALIC, "s": STRUCK, "link": UNDERLINED}
_MARK = re.compile(r"[*_`~\[<\\]")
_WAITS = re.compile(r"([*_~`\\<!]+|\](\([^()\s]*)?)$")
"""What may become a mark, or the address of a link, at the end of an unfinished line."""
_CODE_OR_ESCAPE = re.compile(r"\\?`+|\\.")
_SPACED = "\u052f"
"""The last letter of Latin, Greek and Cyrillic, which put spaces between words."""
_ESCAPED = frozenset("*_`~#|<>!-+.\"'")
"""Before other characters a backslash stays: it may be TeX."""


def held_back(text: str) -> str:
    """The end of an unfinished line that is not shown yet: it may become a mark."""
    found = _WAITS.search(text)
    return found.group() if found else ""


def inline(text: str, style: str = PLAIN, *, is_open: bool = False) -> list[Cell]:
    """The cells of a text in Markdown. No character goes but those of marks.

    is_open: more of the line is to come.
    """
    if is_open:
        text = text[: len(text) - len(held_back(text))]
        text += _open_code(text)
    return _parsed(text, style, is_open=is_open)


def runs_on(text: str) -> bool:
    """Whether a mark is open at the end of a text: more of it may close the mark."""
    closed = _parsed(text + _open_code(text), PLAIN, is_open=True)
    return text_of(closed) != text_of(inline(text))


def _parsed(text: str, style: str, *, is_open: bool) -> list[Cell]:
    if not _MARK.search(text):
        return cells_of(text, style)
    tokens = _parser().parseInline(text, {"is_open": is_open})
    return _cells(tokens[0].children or (), style)


def _cells(tokens: Sequence[Token], style: str) -> list[Cell]:
    cells: list[Cell] = []
    styles = [style]
    links: list[tuple[str, int]] = []
    for token in tokens:
        kind, _, side = token.type.rpartition("_")
        if side == "open":
            styles.append(styled(styles[-1], _STYLES[kind]))
            if kind == "link":
                links.append((_address(token, "href"), len(cells)))
        elif side == "close":
            styles.pop()
            if kind == "link":
                address, start = links.pop()
                cells += _behind(address, text_of(cells[start:]))
        elif token.type == "code_inline":
            cells += cells_of(token.content, styled(styles[-1], CODE))
        elif token.type == "image":
            cells += cells_of(token.content, styled(styles[-1], UNDERLINED))
            cells += _behind(_address(token, "src"), token.content)
        elif token.type in ("softbreak", "hardbreak"):
            cells += cells_of("\n")
        else:
            is_mark = token.type != "text_special" or token.content in _ESCAPED
            cells += cells_of(token.content if is_mark else token.markup, styles[-1])
    return cells


def _address(token: Token, name: str) -> str:
    """Where a link leads, and its title."""
    address, title = token.attrs.get(name, ""), token.attrs.get("title")
    return f'{address} "{title}"' if title else f"{address}"


def _behind(address: str, text: str) -> list[Cell]:
    """The address of a link behind its text, unless that says it already."""
    if address.removeprefix("mailto:") == text:
        return []
    return cells_of(f" ({address})" if text else f"({address})", DIM)


def _open_code(text: str) -> str:
    """The backticks that would close the code at the end of `text`."""
    open_ = ""
    for found in _CODE_OR_ESCAPE.finditer(text):
        mark = found.group()
        if open_:
            open_ = "" if mark.lstrip("\\") == open_ else open_
        elif mark[0] == "`":
            open_ = mark
        elif mark[1] == "`":
            open_ = mark[2:]
    return open_


@cache
def _parser() -> MarkdownIt:
    """CommonMark and strikethrough; HTML and entities are plain text, addresses as written."""
    from markdown_it import MarkdownIt

    class AsWritten(MarkdownIt):
        def validateLink(self, url: str) -> bool:  # noqa: ARG002, N802
            return True

        def normalizeLink(self, url: str) -> str:  # noqa: N802
            return url

        def normalizeLinkText(self, link: str) -> str:  # noqa: N802
            return link

    parser = AsWritten("commonmark", {"html": False}).enable("strikethrough")
    parser.disable(["entity", "text_join"])
    parser.inline.ruler2.before("balance_pairs", "close_at_end", _close_at_end)
    parser.inline.ruler2.before("close_at_end", "keep_products", _keep_products)
    return parser


def _keep_products(state: StateInline) -> None:
    """Asterisks within a word open nothing, and close only as many: x**2 + y**2 is as written."""
    inner = (meta.get("delimiters", ()) for meta in state.tokens_meta if meta)
    for delimiters in (state.delimiters, *inner):
        opened = set()
        for mark in delimiters:
            if mark.marker == ord("*") and _is_in_word(state.tokens, mark.token):
                mark.open, mark.close = False, mark.length in opened
            elif mark.open:
                opened.add(mark.length)


def _is_in_word(tokens: Sequence[Token], i: int) -> bool:
    """Whether letters or digits stand on both sides of the run of asterisks at token `i`."""
    left = right = i
    while left > 0 and tokens[left].content == "*":
        left -= 1
    while right < len(tokens) - 1 and tokens[right].content == "*":
        right += 1
    beside = tokens[left].content[-1:] + tokens[right].content[:1]
    return len(beside) == 2 and all(c.isalnum() and c <= _SPACED for c in beside)


def _close_at_end(state: StateInline) -> None:
    """Closes all that an unfinished line leaves open; what closed before finds nothing to close."""
    if not state.env["is_open"]:
        return
    from markdown_it.rules_inline.state_inline import Delimiter

    for opener in [d for d in reversed(state.delimiters) if d.open]:
        state.push("text", "", 0)
        closer = Delimiter(
            marker=opener.marker,
            length=opener.length,
            token=len(state.tokens) - 1,
            end=-1,
            open=False,
            close=True,
        )
        state.delimiters.append(closer)
