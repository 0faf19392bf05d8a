"""Asks the hub for repositories of GGUF models by words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qrt.errors import ModelError
from qrt.hub.download import Listing, asking, list_models
from qrt.hub.names import is_repo

_AT_ONCE = 8
"""Repositories that are asked for at the same time."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A repository that was found; `listing` is None where it shows its files to nobody."""

    repo: str
    n_downloads: int
    """Of the last 30 days."""
    listing: Listing | None


def search(words: str, limit: int) -> list[Hit]:
    """Repositories with GGUF files whose names have these words, the most downloaded first.

    Raises ModelError: no network, or no hub at its end.
    """
    from huggingface_hub import HfApi, constants

    with asking(words):
        api = HfApi(endpoint=constants.ENDPOINT)
        found = api.list_models(search=words, filter="gguf", sort="downloads", limit=limit)
        counts = {
            model.id: model.downloads if type(model.downloads) is int else 0
            for model in found
            if is_repo(model.id)
        }
        repos = sorted(counts, key=lambda repo: -counts[repo])
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            listings = list(threads.map(_listing, repos))
    return [Hit(r, counts[r], listing) for r, listing in zip(repos, listings, strict=True)]


def _listing(repo: str) -> Listing | None:
    try:
        return list_models(repo)
    except ModelError:
        return None
