"""Readers of calls, for all families: JSON, a name and arguments, tags, parentheses."""

from __future__ import annotations

import json
import re

from qrt.replies.forms import Form
from qrt.replies.literals import (
    Malformed,
    Put,
    Reading,
    after_space,
    drop,
    is_quote,
    past_space,
    text,
    value,
    word_until,
)
from qrt.replies.marks import Item, Mark
from qrt.replies.said import Said
from qrt.replies.tagged import read_tags

_NAMES = ("name", "tool_name", "function_name", "function")
_ARGUMENTS = ("arguments", "parameters", "args", "params")
_IDS = ("id", "tool_call_id", "call_id")
_MAX_HEADER = 512
_MAX_EARLY = 1 << 20
_HEADER_NAME = re.compile(r"(?:functions\.|call:)?([\w.\-/]+?)(?::[0-9]+)?>?")


def read_calls(form: Form, said: Said) -> Reading[Item | None]:
    """Calls in a row, from the item with which the first begins; what follows the last, if it had
    to be read. Raises Malformed."""
    item = yield
    while True:
        while isinstance(item, Mark) and item.name in form.wraps:
            item = yield from after_space()
        said.attempt()
        behind = yield from _calls(item, form, said)
        item = yield from past_space(behind or (yield))
        goes_on = form.is_lined
        while item.name in form.closes if isinstance(item, Mark) else item in form.fill:
            goes_on &= not isinstance(item, Mark)
            item = yield from after_space()
        if isinstance(item, Mark):
            begins = item.name in form.goes_on
        else:
            begins = item in form.starts or (goes_on and item.isidentifier())
        if not begins:
            return item


def read_message(recipient: str, said: Said) -> Reading[Item | None]:
    """The arguments of a call of `recipient`, up to the end of a message. Raises Malformed."""
    said.begin(_plain_name([recipient], said))
    item = yield from after_space()
    behind = yield from arguments(item, said.argue)
    said.end()
    item = behind or (yield)
    return (yield from past_space(item))


def _calls(item: Item, form: Form, said: Said) -> Reading[Item | None]:
    """One call, or a list of them."""
    if item == "{":
        yield from _object(said)
        return None
    if item == "[":
        return (yield from _list(form, said))
    if form.tags and isinstance(item, Mark) and item.name == form.tags.call:
        name, item = yield from word_until((yield), ">")
        if item != ">":
            raise Malformed
        said.begin(_plain_name([name.partition('"')[0]], said))
        return (yield from read_tags((yield), form.tags, said))
    return (yield from _named(item, form, said))


def _list(form: Form, said: Said) -> Reading[Item | None]:
    item = yield from after_space()
    while True:
        said.attempt()
        behind = None
        if item == "{":
            yield from _object(said)
        elif form.is_pythonic:
            behind = yield from _named(item, form, said, letters="_.")
        else:
            raise Malformed
        item = yield from past_space(behind or (yield))
        if item == "]":
            return None
        if item != ",":
            raise Malformed
        item = yield from after_space()


def _object(said: Said, *, is_inner: bool = False) -> Reading[None]:
    """{"name": ..., "arguments": ...}, with its keys in any order, or {NAME: arguments}."""
    n_before, early, model_id = said.n_calls, [], ""
    n_early = 0

    def keep(piece: str) -> None:
        nonlocal n_early
        n_early += len(piece)
        if n_early > _MAX_EARLY:
            raise Malformed
        early.append(piece)

    item = yield from after_space()
    while item != "}":
        if not is_quote(item):
            raise Malformed
        key = yield from text(item)
        if (yield from after_space()) != ":":
            raise Malformed
        item = yield from after_space()
        behind = None
        has_begun = said.n_calls > n_before
        if key in _NAMES and is_quote(item) and not has_begun:
            said.begin(_plain_name([(yield from text(item))], said), model_id)
            for piece in early:
                said.argue(piece)
        elif key in _NAMES and item == "{" and not has_begun and not is_inner:
            yield from _object(said, is_inner=True)
        elif key in _IDS and is_quote(item):
            model_id = yield from text(item)
        elif key in said.tools and item == "{" and not has_begun and not is_inner:
            said.begin(key)
            behind = yield from arguments(item, said.argue)
        elif key in _ARGUMENTS:
            behind = yield from arguments(item, said.argue if said.is_open else keep)
        else:
            behind = yield from value(item, drop)
        item = yield from past_space(behind or (yield))
        if item == ",":
            item = yield from after_space()
        elif item != "}":
            raise Malformed
    if said.n_calls == n_before:
        raise Malformed
    if said.is_open:
        said.end()


def arguments(item: Item, put: Put) -> Reading[Item | None]:
    """The arguments of a call: an object, JSON text of one, or nothing."""
    if item == "{":
        return (yield from value(item, put))
    if is_quote(item):
        inner = yield from text(item)
        put(inner if _is_object(inner) else json.dumps(inner, ensure_ascii=False))
        return None
    pieces: list[str] = []
    behind = yield from value(item, pieces.append)
    found = "".join(pieces)
    put("{}" if found in ("null", "[]") else found)
    return behind


def _is_object(found: str) -> bool:
    try:
        return isinstance(json.loads(found), dict)
    except (ValueError, RecursionError):
        return False


def _named(item: Item, form: Form, said: Said, letters: str | None = None) -> Reading[Item | None]:
    """A header with the name, and arguments behind it.

    letters: those that a header may have beside plain ones; None: any.
    """
    parts, item = yield from _header(item, form, letters)
    model_id = parts[form.id_part] if 0 <= form.id_part < len(parts) - 1 else ""
    name = _plain_name(parts, said)
    if form.is_pythonic and item == "(":
        if name == "print" and name not in said.tools:
            return (yield from _named((yield from after_space()), form, said))
        said.begin(name)
        yield from _parentheses(said, name)
    elif item == "{":
        said.begin(name, model_id.strip())
        yield from value(item, said.argue, form.style)
    elif form.tags and isinstance(item, Mark) and item.name in (form.tags.key, *form.closes):
        said.begin(name)
        return (yield from read_tags(item, form.tags, said))
    else:
        raise Malformed
    said.end()
    return None


def _header(item: Item, form: Form, letters: str | None) -> Reading[tuple[list[str], Item]]:
    """(the parts of a header, what ends it)."""
    parts = [""]
    n_read = 0
    while True:
        if isinstance(item, Mark):
            if item.name not in form.separators:
                return parts, item
            parts.append("")
        elif item == "{" or (item == "(" and form.is_pythonic):
            return parts, item
        elif letters is None or item.isalnum() or item in letters:
            parts[-1] += item
        else:
            raise Malformed
        n_read += 1
        if n_read > _MAX_HEADER:
            raise Malformed
        item = yield


def _plain_name(parts: list[str], said: Said) -> str:
    """The first tool that a part of a header names, without what families put around it."""
    first = ""
    for part in parts:
        line = part.strip().partition("\n")[0].rpartition("=")[2].strip()
        found = _HEADER_NAME.fullmatch(line)
        for name in (line, found[1] if found else ""):
            if name in said.tools:
                return name
        first = first or line
    return first


def _parentheses(said: Said, name: str) -> Reading[None]:
    """key=value, ... behind an opening parenthesis."""
    places = iter(said.tools[name].get("properties") or ())
    said.argue("{")
    is_first = True
    item = yield from after_space()
    while item != ")":
        word: list[str] = []
        while isinstance(item, str) and (item.isalnum() or item == "_") and len(word) < _MAX_HEADER:
            word.append(item)
            item = yield
        item = yield from past_space(item)
        is_named = bool(word) and item == "="
        key = "".join(word) if is_named else next(places, "")
        if not key or isinstance(item, Mark):
            raise Malformed
        said.argue(f"{'' if is_first else ', '}{json.dumps(key)}: ")
        is_first = False
        if is_named:
            behind = yield from value((yield from after_space()), said.argue)
        else:
            behind = yield from _resumed("".join(word), item, said.argue)
        item = yield from past_space(behind or (yield))
        if item == ",":
            item = yield from after_space()
        elif item != ")":
            raise Malformed
    said.argue("}")


def _resumed(word: str, item: Item, put: Put) -> Reading[Item | None]:
    """A value whose first letters were read already."""
    if not word:
        return (yield from value(item, put))
    reading = value(word[0], put)
    next(reading)
    for letter in word[1:]:
        reading.send(letter)
    try:
        reading.send(item)
    except StopIteration as end:
        behind: Item | None = end.value
        return behind
    return (yield from reading)
