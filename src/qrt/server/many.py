"""Many models on one server: loaded when they are asked for, let go when others need the room."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qrt.errors import BackendError
from qrt.free_memory import free_memory
from qrt.progress import Progress
from qrt.server.errors import RefusedError
from qrt.server.memory import BESIDE_OTHERS, Claim, LookAtMemory, check_alone, claim_of, fits
from qrt.server.models import Entry, Served, Stage, State
from qrt.server.settings import Settings
from qrt.server.shelf import Offer, Shelf

if TYPE_CHECKING:
    from qrt.api import Model

Loader = Callable[[Path, Offer, Progress], "Model"]

_TOLD_S = 0.1
"""How often the progress of a load is told."""


def load_offer(path: Path, offer: Offer, progress: Progress) -> Model:
    """The model of an offer, whose file is at `path`."""
    from qrt.api import load

    return load(path, **{**BESIDE_OTHERS, **offer.settings.load}, progress=progress)


@dataclass(slots=True)
class _Slot:
    """An offer that was asked for, and what has become of it."""

    offer: Offer
    stage: Stage = "unloaded"
    served: Served | None = None
    claim: Claim | None = None
    n_loans: int = 0
    """Requests that have it, or wait for it."""
    keep_s: float = 0.0
    used: float = 0.0
    """When it was last given back."""
    expiry: asyncio.TimerHandle | None = None
    loading: asyncio.Task[None] | None = None
    leaving: asyncio.Task[None] | None = None
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)
    progress: tuple[str, int, int] | None = None
    error: str | None = None


class ManyModels:
    """`Models` of all that this machine has. Used from one event loop alone.

    Memory is looked at before a load. Where it is short, models that no request has are let go,
    those first that were given back longest ago; then the same of models in use, which finish what
    was begun with them and take nothing new until then. Loads come one after the other.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Loader = load_offer,
        look_at_memory: LookAtMemory = free_memory,
    ) -> None:
        self._settings = settings
        self._shelf = Shelf(settings)
        self._load_offer = load
        self._look_at_memory = look_at_memory
        self._slots: dict[str, _Slot] = {}
        self._loads = asyncio.Lock()
        self._listeners: set[asyncio.Queue[State | None]] = set()

    @property
    def is_ready(self) -> bool:
        """Always: whatever is asked for is loaded then."""
        return True

    def entries(self) -> Sequence[Entry]:
        """All that can be asked for; the first is the default."""
        return [self._entry(offer) for offer in self._shelf.offers()]

    def states(self) -> Sequence[State]:
        """How each of them stands."""
        return [self._state(self._slots.get(o.name) or _Slot(o)) for o in self._shelf.offers()]

    def look(self) -> None:
        """Looks at the disk anew: a model came, or went."""
        self._shelf.look()

    async def acquire(
        self, name: str | None, keep_alive: float | None = None
    ) -> AbstractAsyncContextManager[Served]:
        """The model of that name, or the default, loaded; its loan lasts as long as the context.

        keep_alive: seconds that it stays loaded afterwards; None: as the settings say. Raises
        RefusedError for a name that there is not, and what loading raises.
        """
        slot = self._slot(self._meant(name))
        while slot.leaving is not None:
            await asyncio.wait([slot.leaving])
        self._begin_loan(slot, keep_alive)
        try:
            if slot.served is None:
                await self._loaded(slot)
        except BaseException:
            self._end_loan(slot)
            raise
        assert slot.served is not None, "it does not leave while it is lent"
        return self._lent(slot, slot.served)

    def unloaded_file(self, name: str | None) -> Path | None:
        """The file of the model of that name, or the default; None while it is loaded.

        Raises RefusedError for a name that there is not, MissingModelError and ModelError where the
        file is not on this machine.
        """
        slot = self._slot(self._meant(name))
        return slot.offer.path() if slot.served is None else None

    async def unload(self, name: str) -> State:
        """Lets a model go once its requests have ended. Raises RefusedError for no such name."""
        slot = self._slot(self._shelf.find(name))
        if slot.loading is not None:
            await asyncio.wait([slot.loading])
        await self._leave(slot)
        return self._state(slot)

    async def close(self) -> None:
        """Lets all models go."""
        for slot in list(self._slots.values()):
            await self._leave(slot)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[State | None]]:
        """A queue of every change of a model's state from now on."""
        queue: asyncio.Queue[State | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    def _meant(self, name: str | None) -> Offer:
        """What a request asks for; one that names none has what is loaded, the last used first,
        where the settings name no default.
        """
        ready = [slot for slot in self._slots.values() if slot.stage == "loaded"]
        if name is None and self._settings.default is None and ready:
            return max(ready, key=lambda slot: slot.used).offer
        return self._shelf.find(name)

    def _slot(self, offer: Offer) -> _Slot:
        slot = self._slots.setdefault(offer.name, _Slot(offer))
        if slot.stage == "unloaded":
            slot.offer = offer  # its file may be another by now
        return slot

    def _entry(self, offer: Offer) -> Entry:
        slot = self._slots.get(offer.name)
        served = slot.served if slot is not None else None
        if served is not None:
            return Entry(offer.name, offer.created, served.model.info)
        load = offer.settings.load
        embedding = True if load.get("pooling") is not None else load.get("embedding")
        return Entry(offer.name, offer.created, None, Path(offer.source), embedding)

    def _state(self, slot: _Slot) -> State:
        offer, now = slot.offer, asyncio.get_running_loop().time()
        return State(
            name=offer.name,
            aliases=offer.settings.aliases,
            stage=slot.stage,
            n_requests=slot.n_loans,
            file_bytes=offer.n_bytes,
            memory_bytes=slot.claim.own_bytes if slot.claim is not None else None,
            expires_s=max(0.0, slot.expiry.when() - now) if slot.expiry is not None else None,
            health=slot.served.model.health if slot.served is not None else None,
            progress=slot.progress,
            error=slot.error,
        )

    def _begin_loan(self, slot: _Slot, keep_alive: float | None) -> None:
        slot.n_loans += 1
        slot.is_idle.clear()
        wanted = (keep_alive, slot.offer.settings.keep_alive, self._settings.keep_alive)
        slot.keep_s = next(seconds for seconds in wanted if seconds is not None)
        if slot.expiry is not None:
            slot.expiry.cancel()
            slot.expiry = None

    def _end_loan(self, slot: _Slot) -> None:
        slot.n_loans -= 1
        slot.used = time.monotonic()
        if slot.n_loans:
            return
        slot.is_idle.set()
        if slot.served is not None and slot.leaving is None and slot.keep_s != math.inf:
            loop = asyncio.get_running_loop()
            slot.expiry = loop.call_later(slot.keep_s, self._begin_leaving, slot)
        self._tell(slot)

    @asynccontextmanager
    async def _lent(self, slot: _Slot, served: Served) -> AsyncGenerator[Served, None]:
        try:
            yield served
        finally:
            self._end_loan(slot)

    async def _loaded(self, slot: _Slot) -> None:
        """Loads it, or waits with others for that; who stops waiting stops nobody else."""
        if slot.loading is None:
            slot.loading = asyncio.create_task(self._load(slot))
            slot.loading.add_done_callback(_looked_at)
        await asyncio.shield(slot.loading)

    async def _load(self, slot: _Slot) -> None:
        offer = slot.offer
        self._set(slot, "loading", error=None)
        try:
            async with self._loads:
                path = await asyncio.to_thread(offer.path)
                slot.claim = await asyncio.to_thread(claim_of, path, offer.settings.load)
                await self._make_room(slot, slot.claim, path)
                model = await asyncio.to_thread(
                    self._load_offer, path, offer, self._progress_of(slot)
                )
        except BaseException as error:
            slot.claim = slot.loading = None
            is_told = isinstance(error, RefusedError)
            self._set(slot, "unloaded", str(error) if is_told else "the server's log says why")
            raise
        slot.loading = None
        slot.claim = replace(slot.claim, n_units=model.health.n_pages)
        own = offer.settings
        slot.served = Served(offer.name, model, own.template_vars, own.options)
        self._set(slot, "loaded")
        if not slot.n_loans:  # all who asked for it have gone
            self._begin_loan(slot, None)
            self._end_loan(slot)

    async def _make_room(self, slot: _Slot, claim: Claim, path: Path) -> None:
        """Lets others go until a model fits, as far as that helps."""
        others = self._others(slot)
        claims = [other.claim for other in others if other.claim is not None]
        try:
            await asyncio.to_thread(check_alone, claim, claims, path.name, self._look_at_memory)
        except BackendError as error:
            raise RefusedError(503, str(error)) from None
        while others and not await self._fits(claim, others):
            idle = [other for other in others if not other.n_loans]
            await self._leave(min(idle or others, key=lambda other: other.used))
            others = self._others(slot)

    def _others(self, slot: _Slot) -> list[_Slot]:
        return [o for o in self._slots.values() if o is not slot and o.served is not None]

    async def _fits(self, claim: Claim, others: Sequence[_Slot]) -> bool:
        most = self._settings.max_loaded
        if most is not None and len(others) >= most:
            return False
        claims = [other.claim for other in others if other.claim is not None]
        return await asyncio.to_thread(fits, claim, claims, self._look_at_memory)

    def _begin_leaving(self, slot: _Slot) -> asyncio.Task[None]:
        """From now on nobody gets it; it is gone once those who have it gave it back."""
        if slot.leaving is None:
            slot.leaving = asyncio.create_task(self._go(slot))
        return slot.leaving

    async def _leave(self, slot: _Slot) -> None:
        if slot.served is not None:
            await asyncio.shield(self._begin_leaving(slot))

    async def _go(self, slot: _Slot) -> None:
        if slot.expiry is not None:
            slot.expiry.cancel()
            slot.expiry = None
        self._set(slot, "unloading")
        try:
            if slot.n_loans:
                await slot.is_idle.wait()
            served, slot.served = slot.served, None
            assert served is not None
            await asyncio.to_thread(served.model.close)
        finally:
            slot.claim = slot.leaving = None
            self._set(slot, "unloaded")

    def _progress_of(self, slot: _Slot) -> Progress:
        """What a loader tells its progress, from any thread."""
        loop, told = asyncio.get_running_loop(), -math.inf

        def progress(what: str, done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= _TOLD_S or done >= total:
                told = now
                loop.call_soon_threadsafe(self._set_progress, slot, (what, done, total))

        return progress

    def _set_progress(self, slot: _Slot, progress: tuple[str, int, int]) -> None:
        if slot.stage == "loading":
            slot.progress = progress
            self._tell(slot)

    def _set(self, slot: _Slot, stage: Stage, error: str | None = None) -> None:
        slot.stage, slot.progress, slot.error = stage, None, error
        self._tell(slot)

    def _tell(self, slot: _Slot) -> None:
        if self._listeners:
            state = self._state(slot)
            for queue in self._listeners:
                queue.put_nowait(state)


def _looked_at(task: asyncio.Task[None]) -> None:
    """Nobody may be left who waits for what a load raises."""
    if not task.cancelled():
        task.exception()
