"""Runs texts through a model for their hidden states: several in one step, for all who ask.

Whichever thread needs a text and finds no other leading runs steps for all calls. A text's rows
have the bits that they have alone, whatever shares its step.
"""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import replace
from operator import attrgetter
from typing import Final, NamedTuple

from qrt.errors import CancelledError, ClosedError, FullError
from qrt.graph.state import StateGroup
from qrt.runtime.capacity import needs
from qrt.runtime.engine import Engine
from qrt.runtime.inputs import Encoded
from qrt.runtime.pooling import Pooled, Vectors
from qrt.runtime.sequence import Sequence
from qrt.runtime.steps import Rows
from qrt.runtime.turns import Alone, Caller, Turns, never

LEAST_SHARED: Final = 32
"""Tokens that texts begin with alike are computed once from so many on."""

_n_left = attrgetter("n_left")
_STOPPED = "the call was stopped by whoever made it"


def n_alike(texts: Items[Encoded]) -> int:
    """How many tokens all texts begin with, each of which has others behind; 0 for one alone."""
    if len(texts) < 2 or any(t.types is not None or t.scales != texts[0].scales for t in texts):
        return 0
    first, last = min(text.tokens for text in texts), max(text.tokens for text in texts)
    limit = min(len(text.tokens) for text in texts) - 1
    pairs = zip(first[:limit], last, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), limit)


def check_going(is_stopped: Callable[[], bool]) -> None:
    """Raises CancelledError once a call was stopped."""
    if is_stopped():
        raise CancelledError(_STOPPED)


class _Text:
    """A text, how far it is computed, and the sequence that has its keys and values meanwhile."""

    __slots__ = (
        "index",
        "n_done",
        "pooled",
        "pooling",
        "scales",
        "seq",
        "stem",
        "tokens",
        "types",
    )

    def __init__(
        self,
        index: int,
        encoded: Encoded,
        pooling: str,
        scales: tuple[float, ...],
        stem: Sequence | None,
    ) -> None:
        """stem: a sequence of what the text begins with; None: it is computed whole."""
        self.index = index
        self.stem = stem
        self.scales = scales if encoded.scales is None else encoded.scales
        self.tokens, self.types = encoded.tokens, encoded.types
        self.pooling = pooling
        self.begin()

    def begin(self) -> None:
        """Nothing of it is computed but its stem."""
        self.seq: Sequence | None = None
        self.n_done = 0 if self.stem is None else len(self.stem)
        self.pooled = Pooled(self.pooling, len(self.tokens))

    @property
    def n_left(self) -> int:
        """Rows that are still to be computed."""
        return len(self.tokens) - self.n_done


class _Call:
    """The texts of one call that are not done, the shortest first; changed by the leader alone."""

    def __init__(
        self,
        texts: Items[Encoded],
        pooling: str,
        scales: tuple[float, ...],
        is_stopped: Callable[[], bool],
        stem: Sequence | None,
        keeps: bool,
    ) -> None:
        """keeps: the sequences of its texts are in `kept` when it is done, not released."""
        found = (_Text(index, text, pooling, scales, stem) for index, text in enumerate(texts))
        self.left = sorted(found, key=_n_left)
        self.kept: list[Sequence] | None = [] if keeps else None
        self.results: dict[int, Vectors] = {}
        self.n_texts = len(self.left)
        self.error: BaseException | None = None
        self.is_stopped = is_stopped

    def is_ready(self) -> bool:
        """Whether whoever made it may go on."""
        return len(self.results) == self.n_texts or self.error is not None


class _Part(NamedTuple):
    """Rows of a text that a step computes."""

    call: _Call
    text: _Text
    n_rows: int


class HiddenStates:
    """Computes pooled hidden states on an engine, whose sequences it opens and releases.

    Thread-safe. Each step has texts of every call in turn, its longest first, until it is full.
    """

    def __init__(
        self, engine: Engine, groups: Items[StateGroup], step_rows: int, *, chunks: bool
    ) -> None:
        """groups: the state groups of the graph; step_rows: rows that make a step full. chunks: a
        text longer than that is computed in several steps, else in one of its own.
        """
        self._engine = engine
        self._groups = groups
        self._step_rows = min(step_rows, engine.max_rows)
        self._chunks = chunks
        self._turns = Turns()
        self._lock = threading.Lock()  # of `_calls` and `_reserved`
        self._calls: dict[_Call, None] = {}
        self._reserved = [0] * len(groups)  # of each group, for what texts begin with alike
        self._begun: tuple[_Call, _Text] | None = None  # the one text that is partly computed

    def run(
        self,
        texts: Items[Encoded],
        pooling: str,
        is_stopped: Callable[[], bool] = never,
        scales: tuple[float, ...] = (),
    ) -> list[Vectors]:
        """The pooled hidden states of texts, each (dim,), or (n_tokens, dim) for "none".

        A text is at least one token, and fits the context. scales: how much of each adapter is
        used where a text does not say. What the last rows of texts alone need is computed once
        where they begin alike. Raises CancelledError once `is_stopped`, FullError if too many calls
        wait, and what a step raises.
        """
        n_shared = n_alike(texts) if pooling == "last" and self._chunks else 0
        reserved = needs(self._groups, n_shared, self._engine.max_rows)
        if n_shared < LEAST_SHARED or not self._reserve(reserved):
            return self._ended(_Call(texts, pooling, scales, is_stopped, None, keeps=False))
        first = replace(texts[0], tokens=texts[0].tokens[:n_shared])
        begun = _Call([first], pooling, scales, is_stopped, None, keeps=True)
        assert begun.kept is not None
        try:
            self._ended(begun)
            [stem] = begun.kept
            return self._ended(_Call(texts, pooling, scales, is_stopped, stem, keeps=False))
        finally:
            for seq in begun.kept:
                self._engine.release(seq)
            self._give_back(reserved)

    def _reserve(self, pages: Items[int]) -> bool:
        """Whether there are pages to be held beside a text that fills the context; takes them."""
        most = needs(self._groups, self._engine.n_ctx, self._engine.max_rows)
        with self._lock:
            found = zip(self._engine.n_pages, self._reserved, pages, most, strict=True)
            if any(n - held - own - 1 < text for n, held, own, text in found):
                return False
            self._reserved = [n + own for n, own in zip(self._reserved, pages, strict=True)]
            return True

    def _give_back(self, pages: Items[int]) -> None:
        with self._lock:
            self._reserved = [n - own for n, own in zip(self._reserved, pages, strict=True)]

    def _ended(self, call: _Call) -> list[Vectors]:
        """The results of a call, which is begun here."""
        self._submit(call)
        caller = Caller(call.is_ready)
        try:
            leads = self._turns.lead(caller)
            while leads and not caller.ready():
                self._round()
                leads = self._turns.between_steps(caller)
        finally:
            caller.leads = False
            self._turns.give(caller)
            with self._lock:
                self._calls.pop(call, None)
            if len(call.results) < call.n_texts:
                with Alone(self._turns):
                    self._let_go(call)
        if call.error is not None:
            raise call.error
        return [call.results[index] for index in range(call.n_texts)]

    def _submit(self, call: _Call) -> None:
        most = self._engine.limits.max_waiting
        with self._lock:
            if len(self._calls) >= most:
                raise FullError(f"{most} calls wait already; ask again later")
            self._calls[call] = None

    def _round(self) -> None:
        """One step for all calls."""
        with self._lock:
            calls = [call for call in self._calls if not call.is_ready()]
            for call in calls[:1]:
                self._calls[call] = self._calls.pop(call)  # another is first in the next step
        for call in calls:
            if call.is_stopped():
                call.error = CancelledError(_STOPPED)
        parts = self._chosen([call for call in calls if call.error is None])
        if parts:
            self._compute(parts)

    def _chosen(self, calls: list[_Call]) -> list[_Part]:
        """The next step: what goes on of the text that is begun, then texts that fit whole."""
        budget, room = self._step_rows, list(self._engine.n_free_pages)
        parts: list[_Part] = []
        if self._begun is not None and self._begun[0].error is None:
            call, text = self._begun
            self._fits(text, room)  # what it lacks of that is less
            n_rows = min(text.n_left, budget if len(calls) == 1 else budget // 2)
            parts.append(_Part(call, text, n_rows))
            budget -= n_rows
        ends = {call: len(call.left) for call in calls}  # those before it are not looked at yet
        while ends:
            for call, end in list(ends.items()):
                at = end - 1  # the longest, which may be more than a step
                if parts:
                    at = bisect_right(call.left, budget, 0, end, key=_n_left) - 1
                if at < 0 or not (self._fits(call.left[at], room) or not parts):
                    del ends[call]
                    continue
                ends[call] = at
                text = call.left[at]
                n_rows = min(text.n_left, budget) if self._chunks else text.n_left
                parts.append(_Part(call, text, n_rows))
                budget -= n_rows
        return parts

    def _fits(self, text: _Text, room: list[int]) -> bool:
        """Whether there are pages for a text, which are taken from `room` then."""
        needed = needs(self._groups, len(text.tokens), self._engine.max_rows)
        if any(n > free for n, free in zip(needed, room, strict=True)):
            return False
        room[:] = [free - n for n, free in zip(needed, room, strict=True)]
        return True

    def _compute(self, parts: Items[_Part]) -> None:
        """One step; where it fails, each text alone, so that only the guilty call ends."""
        try:
            self._step(parts)
        except BaseException as error:
            for part in parts:
                self._undo(part)
            if not isinstance(error, Exception) or isinstance(error, ClosedError):
                raise
            for part in parts:
                if len(parts) == 1:
                    part.call.error = error
                elif part.call.error is None:
                    self._compute([part])

    def _step(self, parts: Items[_Part]) -> None:
        rows = [self._rows(text, n_rows) for _, text, n_rows in parts]
        hidden = self._engine.step(rows)
        at = 0
        for (call, text, n_rows), of_text in zip(parts, rows, strict=True):
            end = at + len(of_text.logit_rows)
            text.pooled.take(hidden[at:end])
            text.n_done += n_rows
            at = end
            self._put(call, text)

    def _rows(self, text: _Text, n_rows: int) -> Rows:
        """The next rows of a text."""
        if text.seq is None:
            engine, stem = self._engine, text.stem
            text.seq = engine.open(scales=text.scales) if stem is None else engine.fork(stem)
        start, end = text.n_done, text.n_done + n_rows
        types = None if text.types is None else text.types[start:end]
        return Rows(text.seq, text.tokens[start:end], text.pooled.wanted(start, n_rows), types)

    def _put(self, call: _Call, text: _Text) -> None:
        """A text where it belongs behind a step: done, or begun."""
        was_begun = self._begun is not None and self._begun[1] is text
        if not text.n_left:
            call.results[text.index] = text.pooled.result()
            if call.kept is not None and text.seq is not None:
                call.kept.append(text.seq)
                text.seq = None
            self._release(text)
        self._begun = (call, text) if text.n_left else None if was_begun else self._begun
        if not was_begun:
            call.left.remove(text)

    def _undo(self, part: _Part) -> None:
        """A text of a step that failed begins anew, unless it was done by then."""
        call, text, _ = part
        if self._begun is not None and self._begun[1] is text:
            self._begun = None
        elif text in call.left:
            call.left.remove(text)
        else:
            return
        self._release(text)
        text.begin()
        insort(call.left, text, key=_n_left)

    def _release(self, text: _Text) -> None:
        if text.seq is not None:
            self._engine.release(text.seq)
            text.seq = None

    def _let_go(self, call: _Call) -> None:
        """Frees what a call that ended early still holds."""
        if self._begun is not None and self._begun[0] is call:
            self._release(self._begun[1])
            self._begun = None
        for text in call.left:
            self._release(text)
