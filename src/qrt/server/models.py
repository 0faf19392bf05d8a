"""The models that a server has: which there are, and the loan of one for a request."""

from __future__ import annotations

import time
from asyncio import Queue
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from qrt.server.errors import RefusedError

if TYPE_CHECKING:
    from qrt.api import Model, ModelInfo
    from qrt.runtime.health import Health


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be asked for; `info` is None while it is not loaded."""

    name: str
    created: int
    """Seconds since 1970."""
    info: ModelInfo | None = None
    file: Path | None = None
    """Of one that is not loaded, where it is on this machine."""
    embedding: bool | None = None
    """As it would be loaded."""


Stage = Literal["unloaded", "loading", "loaded", "unloading"]


@dataclass(frozen=True, slots=True)
class State:
    """How a model stands.

    n_requests: those that have it, or wait for it. memory_bytes: what it takes, once that is known.
    expires_s: seconds until it is unloaded, if nobody asks for it; None: never, or not loaded.
    health: that of a loaded model's engine. progress: of a load, as `qrt.load` tells it. error: why
    it could not be loaded last.
    """

    name: str
    stage: Stage
    n_requests: int = 0
    aliases: tuple[str, ...] = ()
    file_bytes: int = 0
    memory_bytes: int | None = None
    expires_s: float | None = None
    health: Health | None = None
    progress: tuple[str, int, int] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded model on loan: it stays loaded until it is given back.

    template_vars: variables of the chat template that hold where a request names none.
    options: keywords of `generate` that hold where a request names none.
    """

    name: str
    model: Model
    template_vars: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Models(Protocol):
    """What routes see of a server's models."""

    @property
    def is_ready(self) -> bool:
        """Whether a request would be answered now."""

    def entries(self) -> Sequence[Entry]:
        """All that can be asked for; the first is the default."""

    def states(self) -> Sequence[State]:
        """How each of them stands."""

    def listening(self) -> AbstractContextManager[Queue[State | None]]:
        """A queue of every change from now on, as long as the context lasts."""

    def look(self) -> None:
        """Looks at the disk anew: a model came, or went."""

    async def acquire(
        self, name: str | None, keep_alive: float | None = None
    ) -> AbstractAsyncContextManager[Served]:
        """The model of that name, or the default, loaded; its loan lasts as long as the context.

        keep_alive: seconds that it stays loaded afterwards, `math.inf` for ever; None: as the
        server's settings say. Raises RefusedError for a name that there is not, and while it
        cannot be loaded.
        """

    def unloaded_file(self, name: str | None) -> Path | None:
        """The file of the model of that name, or the default; None while it is loaded. Raises
        RefusedError for a name that there is not, and what finding the file raises."""

    async def unload(self, name: str) -> State:
        """Lets a model go once its requests have ended. Raises RefusedError."""


class OneModel:
    """One model, whatever name a request gives; until it is there, requests are put off."""

    def __init__(self, name: str, model: Model | None = None, **defaults: Any) -> None:
        """defaults: `template_vars` and `options` of `Served`."""
        self._name = name
        self._created = int(time.time())
        self._defaults = defaults
        self._served: Served | None = None
        self._n_loans = 0
        if model is not None:
            self.put(model)

    def put(self, model: Model) -> None:
        """Requests are answered from now on."""
        self._served = Served(self._name, model, **self._defaults)

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self._served is not None

    def entries(self) -> Sequence[Entry]:
        """The one."""
        info = self._served.model.info if self._served is not None else None
        return [Entry(self._name, self._created, info)]

    def states(self) -> Sequence[State]:
        """That of the one."""
        if self._served is None:
            return [State(self._name, "loading")]
        model = self._served.model
        n_bytes, health = model.info.file_bytes, model.health
        return [State(self._name, "loaded", self._n_loans, file_bytes=n_bytes, health=health)]

    @contextmanager
    def listening(self) -> Iterator[Queue[State | None]]:
        """Nothing changes."""
        yield Queue()

    def look(self) -> None:
        """There is nothing to see."""

    async def acquire(
        self,
        _: str | None,
        keep_alive: float | None = None,  # noqa: ARG002
    ) -> AbstractAsyncContextManager[Served]:
        """The one. Raises RefusedError while it is being loaded."""
        if self._served is None:
            raise RefusedError(503, "the model is being loaded; ask again soon")
        return self._lent(self._served)

    def unloaded_file(self, _: str | None) -> Path | None:
        """None: while it is loaded, there is nothing to tell of it."""
        return None

    async def unload(self, name: str) -> State:
        """Raises RefusedError."""
        raise RefusedError(409, f"{name}: is the one model of this server; end the server")

    @asynccontextmanager
    async def _lent(self, served: Served) -> AsyncGenerator[Served, None]:
        self._n_loans += 1
        try:
            yield served
        finally:
            self._n_loans -= 1
