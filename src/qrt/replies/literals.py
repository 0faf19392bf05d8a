"""Values as models write them in calls, JSON or nearly, turned into JSON while they come.

Each reader is a generator that is sent one item after the other, a character or a mark. It
returns when its value is over; one that had to see the item behind it returns that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from qrt.replies.marks import Item, Mark

_Result = TypeVar("_Result")
Reading = Generator[None, Item, _Result]
Put = Callable[[str], object]
"""Takes pieces of JSON text."""

END: Final = Mark("\0", "")
"""Comes when nothing else does."""
SPACE: Final = " \t\r\n"
_MAX_DEPTH = 64
_MAX_WORD = 1024
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("true", "True"), "true"),
    **dict.fromkeys(("false", "False"), "false"),
    **dict.fromkeys(("null", "None"), "null"),
}
_ESCAPED = '"\\/bfnrtu'
_ENDS_WORD = ",:]})" + SPACE
_ENDS_BARE = ",]}"


class Malformed(Exception):  # noqa: N818
    """What came is no value, or no call."""


@dataclass(frozen=True, slots=True)
class Style:
    """How values are written."""

    quotes: str = "\"'"
    quote_mark: str = ""
    """A mark in place of quotes, between which nothing is escaped."""
    is_bare: bool = False
    """Keys, and strings of one line, need no quotes."""


JSON = Style()


def drop(_text: str) -> None:
    """Takes what means nothing."""


def after_space(put: Put = drop) -> Reading[Item]:
    """The next item that is no white space."""
    while True:
        item = yield
        if isinstance(item, Mark) or item not in SPACE:
            return item
        put(item)


def past_space(item: Item, put: Put = drop) -> Reading[Item]:
    """`item`, or what follows it and is no white space."""
    if isinstance(item, Mark) or item not in SPACE:
        return item
    put(item)
    return (yield from after_space(put))


def value(item: Item, put: Put, style: Style = JSON, depth: int = 0) -> Reading[Item | None]:
    """A value that begins with `item`. Raises Malformed."""
    if depth > _MAX_DEPTH:
        raise Malformed
    if item == "{":
        yield from _listed(put, "{}", partial(_member, put=put, style=style, depth=depth + 1))
    elif item == "[":
        yield from _listed(put, "[]", partial(value, put=put, style=style, depth=depth + 1))
    elif is_quote(item, style):
        yield from string(item, put)
    else:
        return (yield from _word(item, put, style))
    return None


def is_quote(item: Item, style: Style = JSON) -> bool:
    """Whether a string begins with an item."""
    if isinstance(item, Mark):
        return item.name == style.quote_mark
    return item in style.quotes


def string(quote: Item, put: Put) -> Reading[None]:
    """A string up to the next `quote`."""
    put('"')
    has_escapes = isinstance(quote, str)
    while True:
        item = yield
        if item == quote:
            put('"')
            return
        if item == END:
            raise Malformed
        if isinstance(item, Mark):
            put(escaped(item.shown))
        elif item == "\\" and has_escapes:
            put((yield from _escape()))
        else:
            put(escaped(item))


def escaped(text: str) -> str:
    """Text as it stands within a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def text(quote: Item) -> Reading[str]:
    """The text of a string that begins with `quote`. Raises Malformed."""
    pieces: list[str] = []
    yield from string(quote, pieces.append)
    try:
        return str(json.loads("".join(pieces)))
    except ValueError:  # half an escape
        raise Malformed from None


def _escape() -> Reading[str]:
    """What JSON writes for an escape sequence; one that it does not know is a backslash."""
    item = yield
    if item == END:
        raise Malformed
    if item == "'":
        return "'"
    if item == "u":
        digits = ""
        for _ in range(4):
            item = yield
            if isinstance(item, Mark) or item not in "0123456789abcdefABCDEF":
                raise Malformed
            digits += item
        return "\\u" + digits
    if isinstance(item, str) and item in _ESCAPED:
        return "\\" + item
    return "\\\\" + escaped(item if isinstance(item, str) else item.shown)


def _listed(put: Put, ends: str, one: Callable[[Item], Reading[Item | None]]) -> Reading[None]:
    """What stands between two `ends`, with commas; `one` reads an entry, as `value` does."""
    put(ends[0])
    item = yield from after_space(put)
    while item != ends[1]:
        behind = yield from one(item)
        item = yield from past_space(behind or (yield), put)
        if item == ",":
            put(",")
            item = yield from after_space(put)
            if item == ends[1]:
                raise Malformed
        elif item != ends[1]:
            raise Malformed
    put(ends[1])


def _member(item: Item, put: Put, style: Style, depth: int) -> Reading[Item | None]:
    """A key and its value; what had to be seen behind them."""
    item = yield from _key(item, put, style)
    if item != ":":
        raise Malformed
    put(":")
    item = yield from after_space(put)
    return (yield from value(item, put, style, depth))


def _key(item: Item, put: Put, style: Style) -> Reading[Item]:
    """A key of an object; what is behind it and the white space there."""
    if is_quote(item, style):
        yield from string(item, put)
        return (yield from after_space(put))
    if not style.is_bare:
        raise Malformed
    word, item = yield from word_until(item, ":" + _ENDS_BARE)
    if item != ":":
        raise Malformed
    put(json.dumps(word.strip(), ensure_ascii=False))
    return item


def _word(item: Item, put: Put, style: Style) -> Reading[Item]:
    word, behind = yield from word_until(item, _ENDS_BARE if style.is_bare else _ENDS_WORD)
    word = word.strip()
    if word in _WORDS:
        put(_WORDS[word])
    elif _NUMBER.fullmatch(word):
        put(word)
    elif style.is_bare and word:
        put(json.dumps(word, ensure_ascii=False))
    else:
        raise Malformed
    return behind


def word_until(item: Item, ends: str) -> Reading[tuple[str, Item]]:
    """(characters from `item` on, the first of `ends` or the mark behind them). Raises Malformed
    for too many, or where nothing is behind them."""
    pieces: list[str] = []
    while isinstance(item, str) and item not in ends:
        pieces.append(item)
        if len(pieces) > _MAX_WORD:
            raise Malformed
        item = yield
    if item == END:
        raise Malformed
    return "".join(pieces), item
