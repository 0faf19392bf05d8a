"""Which models a server has to offer, and which of them a request's name means."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qrt.config import EMBEDDED, embedded_model
from qrt.errors import QrtError
from qrt.hub.locate import locate
from qrt.hub.shown import shown_names
from qrt.server.errors import RefusedError
from qrt.server.settings import ModelSettings, Settings

_FRESH_S = 3.0
"""How long a look at the disk holds."""
_LATEST = ":latest"
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be asked for.

    source: its file, or a name that stands for one.
    """

    name: str
    source: str
    n_bytes: int
    created: int
    """When its file was written, in seconds since 1970; 0 where that is not known."""
    settings: ModelSettings

    def path(self) -> Path:
        """Its file. Raises MissingModelError and ModelError where it is not on this machine."""
        if Path(self.source).is_file():
            return Path(self.source)
        return locate(self.source) or Path(self.source)


class Shelf:
    """The models of the settings, those of this machine, and the ones inside the package."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._offers: dict[str, Offer] = {}
        self._by_other_name: dict[str, str] = {}
        self._looked = -_FRESH_S

    def offers(self) -> Sequence[Offer]:
        """All, the default first."""
        if time.monotonic() - self._looked >= _FRESH_S:
            self.look()
        default = self._settings.default
        first = self._known(default) if default is not None else None
        return sorted(self._offers.values(), key=lambda offer: offer is not first)

    def look(self) -> None:
        """Looks at the disk anew."""
        offers = [self._set(name) for name in self._settings.models]
        others: dict[str, str] = {}
        for model, name in shown_names().items():
            offers.append(self._found(name, model.path, model.n_bytes))
            others[str(model).lower()] = name
        for name in EMBEDDED:
            inside = Path(str(embedded_model(name)))
            if inside.is_file():
                offers.append(self._found(name, inside, inside.stat().st_size))
        self._offers = {}
        for offer in offers:
            self._offers.setdefault(offer.name, offer)
        for offer in reversed(self._offers.values()):
            others[offer.name.lower()] = offer.name
        for offer in self._offers.values():
            others.update((alias.lower(), offer.name) for alias in offer.settings.aliases)
        self._by_other_name = others
        self._looked = time.monotonic()

    def find(self, name: str | None) -> Offer:
        """The model that a request's name means, in any case of letters; None: the default.

        Nothing but what is offered can be named: no other file, and nothing is fetched. Raises
        RefusedError: 404.
        """
        offers = self.offers()
        if name is None:
            return offers[0]
        found = self._known(name)
        if found is None:
            self.look()  # it may have come a moment ago
            found = self._known(name)
        if found is None:
            shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
            raise RefusedError(
                404,
                f"there is no model {shown!r} here; GET /v1/models lists those there are",
                param="model",
                code="model_not_found",
            )
        return found

    def _known(self, name: str) -> Offer | None:
        lower = name.lower()
        own = self._by_other_name.get(lower) or self._by_other_name.get(lower.removesuffix(_LATEST))
        return self._offers[own] if own is not None else self._located(name)

    def _located(self, name: str) -> Offer | None:
        """What other ways to write a model's name mean, if that is offered."""
        try:
            path = locate(name)
        except QrtError:
            return None
        return next((offer for offer in self._offers.values() if offer.source == str(path)), None)

    def _found(self, name: str, path: Path, n_bytes: int) -> Offer:
        return Offer(name, str(path), n_bytes, _written(path), self._settings.of(name))

    def _set(self, name: str) -> Offer:
        """A model of the settings, which need not be here."""
        settings = self._settings.of(name)
        called = settings.model or name
        offer = Offer(name, called, 0, 0, settings)
        try:
            path = offer.path()
            return Offer(name, str(path), path.stat().st_size, _written(path), settings)
        except (QrtError, OSError):
            return offer


def _written(path: Path) -> int:
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0
