"""Signatures and documentation that show what `**options` of a method may be, with defaults.

Type checkers read `**options: Unpack[AnswerKeywords]`; `help` and `inspect.signature` read what
is made here of the fields of dataclasses.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from qrt.api.asking import AnswerOptions
from qrt.runtime.options import GenerateOptions
from qrt.runtime.sampler import SamplingParams

_Method = TypeVar("_Method", bound=Callable[..., Any])


def shows(heading: str, *records: type) -> Callable[[_Method], _Method]:
    """Makes a method show the fields of dataclasses, which have defaults, as its `**options`.

    `heading` stands in its documentation over their list; what the dataclasses say follows it.
    """
    options = list(_options(records))
    lines = [f"    {option.name}: {option.annotation} = {option.default!r}" for option in options]
    docs = [inspect.getdoc(record) or "" for record in records]
    meanings = "\n\n".join([heading, "\n".join(lines), *docs])

    def shown(method: _Method) -> _Method:
        signature = inspect.signature(method)
        *own, _ = signature.parameters.values()
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *options]
        )
        if method.__doc__:
            method.__doc__ = f"{inspect.cleandoc(method.__doc__)}\n\n{meanings}"
        return method

    return shown


def _options(records: tuple[type, ...]) -> Iterator[inspect.Parameter]:
    names = {record.__name__ for record in records}
    for field in (field for record in records for field in fields(record)):
        if field.type not in names:  # its own fields stand for it
            factory = field.default_factory
            default = field.default if factory is MISSING else factory()
            kind = inspect.Parameter.KEYWORD_ONLY
            yield inspect.Parameter(field.name, kind, default=default, annotation=field.type)


with_options = shows(
    "Options and their defaults (of sampling: where the file recommends nothing else):",
    AnswerOptions,
    GenerateOptions,
    SamplingParams,
)
"""Of a method whose `**options` are `AnswerKeywords`."""
