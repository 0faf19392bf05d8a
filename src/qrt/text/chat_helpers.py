"""The functions and filters that chat templates expect beside Jinja's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from qrt.errors import InputError, TemplateError

_MAX_MESSAGE = 300
_MAX_DATE_FORMAT = 64


def tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without HTML escapes."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def from_json(text: str) -> object:
    """The value of a JSON text."""
    return json.loads(text)


def raise_exception(message: object) -> NoReturn:
    """Ends the render with the template's own message."""
    raise TemplateError(f"the chat template refuses: {str(message)[:_MAX_MESSAGE]}")


def strftime_now(pattern: str) -> str:
    """The present date and time."""
    if len(pattern) > _MAX_DATE_FORMAT:
        raise InputError(f"date format of {len(pattern)} characters")
    return datetime.now().strftime(pattern)


def make_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """`dict(...)`, without the attributes of the type."""
    return dict(*args, **kwargs)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "dict": make_dict,
    "raise_exception": raise_exception,
    "strftime_now": strftime_now,
}
JSON_FILTERS: Mapping[str, Callable[..., Any]] = {"tojson": tojson, "from_json": from_json}
