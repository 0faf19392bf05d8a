"""SUPPORT.md says what the registry, the oracles and the architectures say."""

from __future__ import annotations

from make_support_table import TARGET, numbers_in, render

HOW = "python tests/make_support_table.py"


def test_the_table_is_what_the_registry_and_the_oracles_say() -> None:
    text = TARGET.read_text(encoding="utf-8")
    numbers = numbers_in(text)
    assert text == render(numbers), HOW
    unmeasured = [name for name, errors in numbers.items() if all(e == "-" for e in errors)]
    assert not unmeasured, HOW
