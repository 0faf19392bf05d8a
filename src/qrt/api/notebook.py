"""Shows an answer as it comes: as Markdown in a notebook, as text anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from qrt.api.completion import Completion, collected
from qrt.runtime.generate import Stream

_SECONDS_BETWEEN = 0.05
"""Between two pictures of a growing text: each is sent and drawn as a whole."""


def show(stream: Stream) -> Completion:
    """Runs a stream to its end and shows its text meanwhile; gives all of it put together.

    In a notebook the text is rendered as Markdown, elsewhere it is printed. Raises what reading
    the stream raises.
    """
    records = []
    put = _markdown() or _print
    with stream:
        for record in stream:
            records.append(record)
            put(record.text, record.finish_reason is not None)
    return collected(stream, records)


def _print(text: str, is_last: bool) -> None:
    print(text, end="\n" if is_last else "", flush=True)


def _markdown() -> Callable[[str, bool], None] | None:
    """Shows text that grows in the notebook's cell; None where there is no notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    display = import_module("IPython.display")
    handle: Any = display.display(display.Markdown(""), display_id=True)
    shown, last = "", 0.0

    def put(text: str, is_last: bool) -> None:
        nonlocal shown, last
        shown += text
        now = time.monotonic()
        if is_last or now - last >= _SECONDS_BETWEEN:
            handle.update(display.Markdown(shown))
            last = now

    return put
