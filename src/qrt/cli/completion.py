"""What a shell completes: names of models, beside the flags that typer knows."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO

VARIABLE = "_QRT_COMPLETE"
"""Set where a shell asks, and not a person."""


def local_names(incomplete: str) -> list[str]:
    """The names of models on this machine, and the GGUF files that begin like this."""
    from qrt.hub.shown import shown_names

    return [
        *shown_names().values(),
        *glob.glob(f"{glob.escape(os.path.expanduser(incomplete))}*.gguf"),
    ]


def short_names(incomplete: str) -> list[str]:
    """The names that qrt pull knows."""
    from qrt.hub.catalogue import catalogue

    return [name for name in catalogue() if name.startswith(incomplete)]


def all_names(incomplete: str) -> list[str]:
    """Both."""
    return list(dict.fromkeys([*local_names(incomplete), *short_names(incomplete)]))


def complete(app: Callable[[], None]) -> None:
    """Runs `app`, which then answers the shell instead of running a command.

    Bash ends a word at every colon. The parts of a name are put together for `app`, and what
    stands before the last colon is left out of its answers.
    """
    sys.modules["rich"] = None  # type: ignore[assignment]  # which takes long, to render help
    if os.environ[VARIABLE] != "complete_bash":
        app()
    words = os.environ.get("COMP_WORDS", "").split("\n")
    joined = joined_at_colons(words[: int(os.environ.get("COMP_CWORD", "0")) + 1])
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), f"{len(joined) - 1}"
    start = joined[-1][: joined[-1].rfind(":") + 1]
    answers = StringIO()
    try:
        with redirect_stdout(answers):
            app()
    finally:
        lines = answers.getvalue().splitlines()
        print("\n".join(line.removeprefix(start) for line in lines))


def joined_at_colons(words: Sequence[str]) -> list[str]:
    """`words` of which those are one that nothing but a colon parted."""
    joined: list[str] = []
    for word in words:
        if joined and (word == ":" or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
