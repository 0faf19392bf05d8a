"""What the hub offers under a name, and the memory it needs beside what is free here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qrt.free_memory import free_memory
from qrt.hub.catalogue import Entry, runs
from qrt.hub.nearest import asked_of_hub
from qrt.hub.quants import DEFAULT_QUANT, HubModel, choose
from qrt.progress import Progress
from qrt.runtime.fitting import OVERHEAD


@dataclass(frozen=True, slots=True)
class Estimate:
    """About the memory that a model needs, in bytes; None for what is not known."""

    file_bytes: int
    kv_bytes: int | None
    """Keys and values at a context of KV_TOKENS."""
    free_bytes: int | None

    @property
    def n_bytes(self) -> int:
        """All that is known of."""
        return self.file_bytes + (self.kv_bytes or 0) + OVERHEAD

    @property
    def fits(self) -> bool | None:
        """Whether the whole model fits into what is free."""
        return None if self.free_bytes is None else self.n_bytes <= self.free_bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of a repository; `arch` is None where nobody tells."""

    repo: str
    model: HubModel
    arch: str | None
    needs: Estimate

    @property
    def runs(self) -> bool:
        """Whether nothing is known that keeps qrt from running it."""
        return self.arch is None or runs(self.arch)

    def fetch(self, progress: Progress) -> Path:
        """Downloads what is missing of it, as `download.fetch` does."""
        from qrt.hub.download import fetch

        return fetch(self.repo, self.model.files, progress)


def estimate(file_bytes: int, entry: Entry | None) -> Estimate:
    """What a file of a model needs, known by `entry` or not, beside what is free now."""
    return Estimate(file_bytes, entry.kv_bytes if entry else None, free_memory().n_bytes)


def ask(text: str) -> Offer:
    """What the hub offers under a name.

    Raises InputError for what is no name, ModelError for what the hub does not have or tell.
    """
    from qrt.hub.download import list_models

    entry, name = asked_of_hub(text)
    listing = list_models(name.repo)
    chosen = choose(listing.models, name, entry.quant if entry else DEFAULT_QUANT)
    arch = listing.arch or (entry.arch if entry else None)
    return Offer(listing.repo, chosen, arch, estimate(chosen.n_bytes, entry))
