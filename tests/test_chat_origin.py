"""Text with an origin: the same values as any text, and no foreign character taken for an own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrt.text.chat_origin import Traced, joined, own, runs

OWN, FOREIGN = "aB<\n", "xY |\t"


@st.composite
def texts(draw: st.DrawFn) -> Traced:
    """Own and foreign parts in turn; letters tell which is which."""
    parts = draw(st.lists(st.tuples(st.text(OWN, max_size=3), st.text(FOREIGN, max_size=3))))
    return Traced("").join([text for a, b in parts for text in (own(a), b)])


def strip_all(text: Any) -> Any:
    """The same value in plain text."""
    if isinstance(text, str):
        return "".join(text)
    if isinstance(text, list | tuple):
        return type(text)(map(strip_all, text))
    return text


OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a + b": lambda a, b: a + b,
    "a * 3": lambda a, b: (a * 3, 2 * b),
    "a[1:-1]": lambda a, b: (a[1:-1], a[::-1], b[:2], a[:1]),
    "a % b": lambda a, b: (a + "%s-%d%%" + b) % (b, 3),
    "join": lambda a, b: a.join([b, "xY", a]),
    "replace": lambda a, b: (a.replace("a", b), b.replace("xY", a, 1), a.replace("", b)),
    "split": lambda a, b: (a.split(), a.split(b or "a"), a.split("<", 1), a.split(None, 1)),
    "rsplit": lambda a, b: (a.rsplit(), a.rsplit("|", 1), a.rsplit(None, 1), b.rsplit("a")),
    "lines": lambda a, b: (a.splitlines(), b.splitlines(True)),
    "partition": lambda a, b: (a.partition("<"), b.rpartition("|")),
    "strip": lambda a, b: (a.strip(), a.lstrip(), a.rstrip(), a.strip("ax"), a.strip(b)),
    "strip of": lambda a, b: (a.lstrip(b), a.rstrip(b), a.strip(None)),
    "affix": lambda a, b: ((a + b).removeprefix(a), (a + b).removesuffix(b), a.removeprefix("x")),
    "case": lambda a, b: (a.upper(), a.lower(), b.title(), b.capitalize(), b.swapcase()),
    "compare": lambda a, b: (a == b, a < b, hash(a) == hash(b), a in b, len(a), {a: 1}.get(b)),
    "str": lambda a, b: (str(a), f"{a}{b}", repr(a), a.isspace(), list(b), a.count("a")),
}  # fmt: skip


def check_origin(value: object) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            check_origin(item)
    elif isinstance(value, Traced):
        assert value.own == "".join(str(int(c.lower() in OWN.lower())) for c in value)


@pytest.mark.parametrize("name", OPERATIONS)
@given(a=texts(), b=texts())
def test_operations_change_no_value_and_no_origin(name: str, a: Traced, b: Traced) -> None:
    operation = OPERATIONS[name]
    result = operation(a, b)
    assert strip_all(result) == operation(strip_all(a), strip_all(b))
    check_origin(result)


@pytest.mark.parametrize("bad", ["%", "%s %", "%s%s", "", "%d", "%(a)s", "%z"])
def test_bad_formats_fail_as_ever(bad: str) -> None:
    with pytest.raises((TypeError, ValueError)) as plain:
        bad % ("x",)
    with pytest.raises(type(plain.value)) as traced:
        own(bad) % ("x",)
    assert str(traced.value) == str(plain.value)


def test_runs() -> None:
    assert runs("xyz") == [0, 3]
    assert runs(joined(["x", own("ab"), "y", "z", own("c")])) == [0, 1, 2, 2, 1]
    assert runs(joined([own("ab"), own("c"), "y"])) == [3, 1]
