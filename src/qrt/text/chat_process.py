"""Starts the process of a chat template, talks to it, and ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from qrt.errors import TemplateError
from qrt.text.chat_frames import read_frame, write_frame
from qrt.text.chat_limits import Limits
from qrt.text.messages import one_line

_BOOT: Final = (
    "import sys; sys.path += [p for p in sys.argv[1:] if p not in sys.path];"
    "from qrt.text.chat_worker import main; main()"
)
_PACKAGES: Final = str(Path(__file__).parents[2])
_WINDOWS_FLAGS: Final[int] = sum(
    getattr(subprocess, name, 0) for name in ("CREATE_NO_WINDOW", "CREATE_NEW_PROCESS_GROUP")
)


class TemplateProcess:
    """One template in a process of its own, which starts at once, and anew if it was ended.

    Thread-safe, and safe in a process that was forked. It ends with the last reference to this.
    """

    def __init__(self, source: str, limits: Limits) -> None:
        self._setup = {"source": source, "limits": asdict(limits)}
        self._limits = limits
        self._worker = _first_worker()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The worker's answer. Raises TemplateError if the template fails or has to be stopped."""
        while True:
            worker = self._worker
            if worker.ended:
                worker = self._worker = _Worker()
            with worker.lock:
                if not worker.ended:
                    start = time.monotonic()
                    answer = worker.ask(self._setup, request)
                    break
        if answer is None:
            raise TemplateError(self._why_it_ended(time.monotonic() - start))
        if "error" in answer:
            raise TemplateError(one_line(answer["error"]))
        return answer

    def _why_it_ended(self, seconds: float) -> str:
        if seconds >= self._limits.seconds:
            return f"the chat template ran longer than {self._limits.seconds:g} s"
        return (
            "the chat template ended its process: it needs more than"
            f" {self._limits.process_bytes >> 20} MiB of memory, or Jinja2 cannot be imported"
        )


class _Worker:
    """A started process; `lock` is held while it is asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._is_set_up = False
        self._parent = os.getpid()
        command = [sys.executable, "-I", "-S", "-c", _BOOT, *filter(os.path.isabs, sys.path)]
        try:
            self._process = subprocess.Popen(
                [*command, _PACKAGES],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the parent; its end closes standard input
                creationflags=_WINDOWS_FLAGS,
            )
        except OSError as error:
            raise TemplateError(
                f"cannot start a process for the chat template: {error.strerror or error}"
            ) from None
        self._end = weakref.finalize(self, _end, self._process, self._parent)

    @property
    def ended(self) -> bool:
        """Whether this cannot be asked: it is over, or belongs to the process we forked from."""
        is_ours = self._end.alive and self._parent == os.getpid()
        return not is_ours or self._process.poll() is not None

    def ask(self, setup: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer, or None where the process ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if not self._is_set_up:
                write_frame(self._process.stdin, setup)
                self._is_set_up = True
            write_frame(self._process.stdin, request)
            answer: dict[str, Any] = read_frame(self._process.stdout)
        except (EOFError, OSError):
            self._end()
            return None
        except BaseException:
            self._end()
            raise
        return answer


_early: SimpleQueue[_Worker] = SimpleQueue()


def start_early() -> None:
    """Starts the process of the next template, for a program that is about to load its model."""
    with suppress(TemplateError):  # which the template itself will raise
        _early.put(_Worker())


def _first_worker() -> _Worker:
    with suppress(Empty):
        while (worker := _early.get_nowait()).ended:
            pass
        return worker
    return _Worker()


def _end(process: subprocess.Popen[bytes], parent: int) -> None:
    if os.getpid() == parent:
        process.kill()
        process.wait()
    else:
        process.returncode = 0  # a process that was forked from its parent cannot wait for it
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
