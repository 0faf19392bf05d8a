"""The models that a server has: which there are, and the loan of one for a request."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from qrt.server.errors import RefusedError

if TYPE_CHECKING:
    from qrt.api import Model, ModelInfo


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be asked for; `info` is None while it is not loaded."""

    name: str
    created: int
    """Seconds since 1970."""
    info: ModelInfo | None = None


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

    async def acquire(self, name: str | None) -> AbstractAsyncContextManager[Served]:
        """The model of that name, or the default, loaded; its loan lasts as long as the context.

        Raises RefusedError for a name that there is not, and while it cannot be loaded.
        """


class OneModel:
    """One model, whatever name a request gives; until it is there, requests are put off."""

    def __init__(self, name: str, model: Model | None = None, **defaults: Any) -> None:
        """defaults: `template_vars` and `options` of `Served`."""
        self._name = name
        self._created = int(time.time())
        self._defaults = defaults
        self._served: Served | None = None
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

    async def acquire(self, _: str | None) -> AbstractAsyncContextManager[Served]:
        """The one. Raises RefusedError while it is being loaded."""
        if self._served is None:
            raise RefusedError(503, "the model is being loaded; ask again soon")
        return _lent(self._served)


@asynccontextmanager
async def _lent(served: Served) -> AsyncGenerator[Served, None]:
    yield served
