"""Compiles grammars, each in a thread of its own that has a deadline and a deep stack."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Final

from qrt.errors import FullError, InputError
from qrt.runtime.constraint import Grammar
from qrt.structure.matcher import Matcher, wrong
from qrt.structure.sources import source
from qrt.structure.vocabulary import Vocabulary, library

DEADLINE_S: Final = 1.0
"""Of the thread's own time, where the system tells it, since others may be busy."""
_PATIENCE_S: Final = 5.0
_BETWEEN_S: Final = 0.02
_N_AT_ONCE: Final = 2
_STACK_BYTES: Final = 128 << 20
"""Enough for the deepest chain of references that fits into the text of a grammar."""

_STARTING = threading.Lock()  # the size of a stack is one for all threads that are started


class Compiler:
    """Compiles a few grammars at once; what takes too long keeps its place until it has ended."""

    def __init__(self) -> None:
        self._places = threading.Semaphore(_N_AT_ONCE)

    def compiled(self, grammar: Grammar, vocabulary: Vocabulary) -> Any:
        """An LLMatcher at the start of an answer, of which copies are made.

        Raises InputError for a wrong or too large grammar, FullError where others take too long.
        """
        if not self._places.acquire(timeout=DEADLINE_S):
            raise FullError("other grammars are being compiled; ask again later")
        clock, result = list[int](), list[Any]()

        def work() -> None:
            try:
                if hasattr(time, "pthread_getcpuclockid"):
                    clock.append(time.pthread_getcpuclockid(threading.get_ident()))
                result.append(_compiled(grammar, vocabulary))
            except BaseException as error:
                result.append(error)
            finally:
                self._places.release()

        thread = threading.Thread(target=work, name="qrt-grammar", daemon=True)
        with _STARTING:
            before = threading.stack_size(_STACK_BYTES)
            try:
                thread.start()
            finally:
                threading.stack_size(before)
        began = time.monotonic()
        thread.join(DEADLINE_S)
        while not result and _spent(clock) < DEADLINE_S and time.monotonic() - began < _PATIENCE_S:
            thread.join(_BETWEEN_S)
        if not result:
            raise InputError(
                f"the grammar takes longer than {DEADLINE_S:g} s to compile; make it smaller"
            )
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]


def _spent(clock: list[int]) -> float:
    """CPU seconds by the clock of a thread; without one, more than it may take."""
    try:
        return time.clock_gettime(clock[0]) if clock else math.inf
    except OSError:  # it has just ended
        return 0.0


def _compiled(grammar: Grammar, vocabulary: Vocabulary) -> Any:
    matcher = library().LLMatcher(vocabulary.ll, source(grammar), log_level=0)
    if matcher.is_error():
        raise InputError(wrong(matcher))
    first = Matcher(matcher.deep_copy(), vocabulary)
    for token in first.forced():
        first.accept(token)
    first.mask()  # what is too large for a step is told here, and not amid one
    return matcher
