"""Signatures and documentation that show every option of a generation with its default.

Type checkers read `**options: Unpack[GenerateKeywords]`; `help` and `inspect.signature` read what
is made here from the same fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from qrt.runtime.options import GenerateOptions
from qrt.runtime.sampler import SamplingParams

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _option(field: Field[Any]) -> inspect.Parameter:
    default = field.default
    if default is MISSING:
        assert field.default_factory is not MISSING
        default = field.default_factory()
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=default, annotation=field.type)


_OPTIONS = [
    _option(field)
    for record in (GenerateOptions, SamplingParams)
    for field in fields(record)
    if field.name != "sampling"
]
_MEANINGS = "\n\n".join(
    [
        "Options and their defaults (of sampling: where the file recommends nothing else):",
        "\n".join(f"    {p.name}: {p.annotation} = {p.default!r}" for p in _OPTIONS),
        *(inspect.getdoc(record) or "" for record in (GenerateOptions, SamplingParams)),
    ]
)


def with_options(method: _Method) -> _Method:
    """`method`, whose `**options` are `GenerateKeywords`, showing each of them."""
    signature = inspect.signature(method)
    *own, _ = signature.parameters.values()
    shown = signature.replace(parameters=[*own, *_OPTIONS])
    method.__signature__ = shown  # type: ignore[attr-defined]
    if method.__doc__:
        method.__doc__ = f"{inspect.cleandoc(method.__doc__)}\n\n{_MEANINGS}"
    return method
