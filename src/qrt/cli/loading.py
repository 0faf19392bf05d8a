"""Loads a model for a command, with progress shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qrt.cli.output import byte_size, note, option_rows
from qrt.cli.progress import shown_progress

if TYPE_CHECKING:
    from qrt.api import Model
    from qrt.cli.flags import AnswerLoadFlags

_CURRENT = 1
"""MCL_CURRENT of mlockall."""


def loaded(path: str | None, flags: AnswerLoadFlags) -> Model:
    """The model at `path`, or the embedded one; raises what `qrt.load` does."""
    from qrt.api import load

    with shown_progress() as progress:
        model = load(path, **flags.keywords(), progress=progress)
    if flags.mlock and (why_not := lock_memory()):
        note(sys.stderr, f"--mlock: memory is not locked: {why_not}")
    return model


def lock_memory() -> str:
    """Keeps what this process has in memory from being swapped out; why not, where it cannot be."""
    if sys.platform == "win32":
        return "Windows locks no process as a whole"
    import ctypes
    import resource

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mlockall"):
        return "this system locks no process as a whole"
    if libc.mlockall(_CURRENT) == 0:
        return ""
    most, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    may = "" if most == resource.RLIM_INFINITY else f"; `ulimit -l` allows {byte_size(most)}"
    return os.strerror(ctypes.get_errno()) + may


def recommended_line(model: Model, given: Mapping[str, object]) -> str:
    """The sampling options that the model recommends and that hold beside those `given`."""
    from qrt.runtime.sampler import with_recommended

    used = with_recommended(given, model.info.sampling)
    rows = option_rows({name: used[name] for name in used.keys() - given.keys()})
    return ", ".join(f"{name} {value}" for name, value in sorted(rows))


def has_chat_format(model: Model) -> bool:
    """Whether the file has a chat template, or its vocabulary the marks of a known one."""
    from qrt.text.templates import BY_TOKENS

    def is_token(text: str) -> bool:
        return len(model.tokenize(text, add_special=False, parse_special=True)) == 1

    if model.metadata.get("tokenizer.chat_template"):
        return True
    return any(all(is_token(mark) for mark in marks) for marks in BY_TOKENS)
