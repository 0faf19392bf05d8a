"""Arguments between tags: each a name and a text, whose type the schema of the tool tells."""

from __future__ import annotations

import json

from qrt.replies.forms import Tags
from qrt.replies.literals import (
    END,
    Malformed,
    Put,
    Reading,
    after_space,
    escaped,
    past_space,
    word_until,
)
from qrt.replies.marks import Item, Mark
from qrt.replies.parameters import as_json, types_of
from qrt.replies.said import Said

_STRING = frozenset(("string",))


def read_tags(item: Item, tags: Tags, said: Said) -> Reading[Item | None]:
    """The arguments of the call that has begun, up to a mark that is none of theirs, which is
    given back unless it ends the call. Raises Malformed for text between them."""
    is_first = True
    while True:
        item = yield from past_space(item)
        if not isinstance(item, Mark):
            raise Malformed
        if item.name != tags.key:
            said.argue("{}" if is_first else "}")
            said.end()
            return None if item.name == tags.call_end else item
        key = yield from _key(tags)
        said.argue(("{" if is_first else ", ") + json.dumps(key, ensure_ascii=False) + ": ")
        is_first = False
        types = types_of(said.schema, key)
        if types == _STRING:
            said.argue('"')
            yield from _text(tags, lambda piece: said.argue(escaped(piece)))
            said.argue('"')
        else:
            pieces: list[str] = []
            yield from _text(tags, pieces.append)
            said.argue(as_json("".join(pieces), types))
        item = yield


def _key(tags: Tags) -> Reading[str]:
    """The name of an argument, read up to its value."""
    word, item = yield from word_until((yield), ">" if not tags.key_end else "")
    ended = item.name == tags.key_end if isinstance(item, Mark) else item == ">"
    if not ended:
        raise Malformed
    if tags.value:
        item = yield from after_space()
        if not isinstance(item, Mark) or item.name != tags.value:
            raise Malformed
    return word.partition('"')[0].strip()


def _text(tags: Tags, put: Put) -> Reading[None]:
    """A value up to the mark that ends it."""
    feed = ""
    is_first = True
    while True:
        item = yield
        if item == END:
            raise Malformed
        if isinstance(item, Mark):
            if item.name == tags.value_end:
                return
            item = item.shown
        if feed:
            put(feed)
            feed = ""
        if item == "\n" and tags.trims:
            feed = "" if is_first else item
        elif item:
            put(item)
        is_first = False
