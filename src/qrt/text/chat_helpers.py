"""The functions and filters of chat templates that are not Jinja's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Environment, pass_environment
from jinja2.filters import make_attrgetter

from qrt.errors import TemplateError
from qrt.text.chat_origin import traced

_MAX_DATE_FORMAT = 64


def tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
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
    raise TemplateError(f"the chat template refuses: {message}")


def strftime_now(pattern: str) -> str:
    """The present date and time."""
    if len(pattern) > _MAX_DATE_FORMAT:
        raise TemplateError(f"the chat template fails: a date format of {len(pattern)} characters")
    return datetime.now().strftime(pattern)


def make_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """`dict(...)`, without the attributes of the type."""
    return dict(*args, **kwargs)


def as_text(value: object) -> str:
    """`value|safe`: nothing is escaped here, so nothing has to be kept from it."""
    return value if isinstance(value, str) else str(value)


def replace(text: object, old: object, new: object, count: int | None = None) -> str:
    """`text|replace(old, new)`, which knows the origin of `new`."""
    return traced(str(text)).replace(str(old), str(new), -1 if count is None else count)


@pass_environment
def join(
    environment: Environment,
    items: Iterable[Any],
    d: object = "",
    attribute: str | int | None = None,
) -> str:
    """`items|join`, which knows the origin of each item."""
    if attribute is not None:
        items = map(make_attrgetter(environment, attribute), items)
    return traced(str(d)).join(map(str, items))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "dict": make_dict,
    "raise_exception": raise_exception,
    "strftime_now": strftime_now,
}
FILTERS_OF_OURS: Mapping[str, Callable[..., Any]] = {
    "from_json": from_json,
    "join": join,
    "replace": replace,
    "safe": as_text,
    "tojson": tojson,
}
