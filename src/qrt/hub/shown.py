"""The models of this machine, each with its shortest name."""

from __future__ import annotations

from qrt.hub.catalogue import short_name
from qrt.hub.places import HUB, PLACES, LocalModel, cached_models
from qrt.hub.quants import HubFile, HubModel


def shown_names() -> dict[LocalModel, str]:
    """Every model that is listed, by its shortest name."""
    return {model: _shown_name(model) for place in PLACES.values() for model in place.models()}


def _shown_name(model: LocalModel) -> str:
    if model.source != HUB:
        return str(model)
    owner, name, file = model.name.split("/", 2)
    repo = f"{owner}/{name}"
    quant = HubModel((HubFile(file, model.n_bytes),)).quant
    if quant is None or [m.quant for m in cached_models(repo)].count(quant) > 1:
        return str(model)
    return short_name(repo, quant) or f"{repo}:{quant}"
