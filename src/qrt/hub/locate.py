"""From what a person calls a model to its file on this machine; nothing is ever fetched."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from qrt.config import EMBEDDED, embedded_model
from qrt.errors import InputError, MissingModelError, ModelError
from qrt.hub.catalogue import Entry, find
from qrt.hub.names import SUFFIX, HubName, is_hub_link
from qrt.hub.nearest import asked_of_hub, hint, is_sized, near_names
from qrt.hub.places import HUB, PLACES, LocalModel, cached_models, cached_repo
from qrt.hub.quants import DEFAULT_QUANT, choose


def is_known(text: str) -> bool:
    """Whether a text names a model, there or not: SOURCE:..., what another tool keeps, a short name
    or nearly one, NAME:SIZE.
    """
    source, colon, _ = text.partition(":")
    if text.lower() in EMBEDDED:
        return True
    if colon and (source in PLACES or _elsewhere(text) is not None):
        return True
    return find(text) is not None or (bool(colon) and (is_sized(text) or bool(near_names(text))))


def locate(text: str) -> Path | None:
    """The file of a model by its name; None if this is no name of a model.

    Names are hf:REPO/FILE, hf:REPO and hf:REPO:QUANT, the same after hf.co/ or nothing, links to
    huggingface.co, short names with or without :QUANT, those of files that other tools keep, as
    `qrt list` shows them, and those of the models inside this package. Raises MissingModelError for
    a model that the hub may have, ModelError for one that another tool does not keep, InputError
    for a name that can be none.
    """
    source, colon, name = text.partition(":")
    if text.lower() in EMBEDDED:
        return Path(str(embedded_model(text.lower())))
    if colon and source != HUB and source in PLACES:
        for found in PLACES[source].models():
            if found.name.lower() == name.lower():
                return found.path
        raise ModelError(f"{text}: {PLACES[source].title} keeps no such model; see qrt list")
    other = _elsewhere(text)
    if other is None:
        find(text)  # which raises for a family of several sizes
    try:
        entry, asked = asked_of_hub(text)
    except InputError:
        if is_hub_link(text) and other is None:
            raise
        return other.path if other else None
    asked = replace(asked, repo=cached_repo(asked.repo))
    is_here = bool(cached_models(asked.repo))
    if other is not None and not is_here:
        return other.path
    if entry is None and not is_here and _is_path(text):
        return None
    return cached(asked, text, entry)


def cached(name: HubName, text: str, entry: Entry | None) -> Path:
    """The file in the Hugging Face cache of what `text` asks of the hub. Raises MissingModelError
    if it is not there.
    """
    models = cached_models(name.repo)
    pull = f"`qrt pull {shlex.quote(str(name) if is_hub_link(text) else text)}`"
    if not models and (entry or is_hub_link(text)):
        size = f", {entry.file_bytes(entry.quant) / 1e9:.1f} GB" if entry and not name.quant else ""
        raise MissingModelError(f"{text}: is not on this machine; {pull} fetches it{size}")
    if not models:
        raise MissingModelError(
            f"{text}: no such file, nor a model on this machine; {pull} asks the hub for it"
        )
    try:
        return models[choose(models, name, entry.quant if entry else DEFAULT_QUANT)]
    except ModelError as error:
        raise MissingModelError(f"{error} of those on this machine, or {pull}") from None


def no_such_file(text: str) -> ModelError:
    """The error for a text that is neither a file nor a model's name, with what may be meant."""
    meant = hint(text)
    return ModelError(f"{text}: no such file" + (f"; {meant}" if meant else ""))


def _is_path(text: str) -> bool:
    """Whether OWNER/NAME reads as the path of a file that is not there."""
    folder, _, rest = text.partition("/")
    return os.path.isdir(folder) or ("/" not in rest and rest.lower().endswith(SUFFIX))


def _elsewhere(text: str) -> LocalModel | None:
    """What another tool keeps under this name."""
    lower = text.lower()
    others = (place for source, place in PLACES.items() if source != HUB)
    return next((f for place in others for f in place.models() if f.name.lower() == lower), None)
