"""From what a person calls a model to its file on this machine; nothing is ever fetched."""

from __future__ import annotations

from pathlib import Path

from qrt.errors import InputError, ModelError
from qrt.hub.catalogue import find
from qrt.hub.names import HubName, parse_hub_name
from qrt.hub.places import HUB, PLACES, LocalModel, cached_models
from qrt.hub.quants import DEFAULT_QUANT, choose


def is_known(text: str) -> bool:
    """Whether a text names a model: SOURCE:..., a short name, or one that another tool keeps."""
    source, colon, _ = text.partition(":")
    if colon and source in PLACES:
        return True
    return find(text) is not None or (bool(colon) and _elsewhere(text) is not None)


def locate(text: str) -> Path | None:
    """The file of a model by its name; None if this is no name of a model.

    Names are hf:REPO/FILE, hf:REPO and hf:REPO:QUANT, short ones with or without :QUANT, and those
    of files that other tools keep, as `qrt list` shows them; hf: may be left out for a repository
    that is in the cache. Raises ModelError for a model that is not on this machine, InputError for
    a name that can be none.
    """
    source, colon, name = text.partition(":")
    if colon and source == HUB:
        return cached(parse_hub_name(name), text)
    if colon and source in PLACES:
        for found in PLACES[source].models():
            if found.name == name:
                return found.path
        raise ModelError(f"{text}: {PLACES[source].title} keeps no such model; see qrt list")
    known = find(text)
    other = _elsewhere(text)
    if known is None:
        return other.path if other else _cached_repo(text)
    entry, asked = known
    if other is not None and not cached_models(entry.repo):
        return other.path
    return cached(asked, text, entry.quant)


def cached(name: HubName, text: str, preferred: str = DEFAULT_QUANT) -> Path:
    """The file of a model in the Hugging Face cache. Raises ModelError if it is not there."""
    models = cached_models(name.repo)
    if not models:
        raise ModelError(f"{text}: is not on this machine; `qrt pull {text}` fetches it")
    try:
        return models[choose(models, name, preferred)]
    except ModelError as error:
        raise ModelError(f"{error} of those on this machine, or qrt pull {text}") from None


def _cached_repo(text: str) -> Path | None:
    """The file of REPO, REPO:QUANT or REPO/FILE if that repository is in the cache."""
    try:
        name = parse_hub_name(text)
    except InputError:
        return None
    return cached(name, text) if cached_models(name.repo) else None


def _elsewhere(text: str) -> LocalModel | None:
    """What another tool keeps under exactly this name."""
    others = (place for source, place in PLACES.items() if source != HUB)
    return next((f for place in others for f in place.models() if f.name == text), None)
