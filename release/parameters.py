"""An extension of griffe: what a docstring tells of one parameter becomes an item of a list."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Function, Object


class Parameters(Extension):
    """`n_ctx: tokens of ...` at the start of a line, where there is such a parameter or field."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        known = [p.name for p in obj.parameters] if isinstance(obj, Function) else obj.members
        if obj.docstring and known:
            start = re.compile(rf"^({'|'.join(map(re.escape, known))}): ", re.MULTILINE)
            obj.docstring.value = start.sub(r"- `\1`: ", obj.docstring.value)
