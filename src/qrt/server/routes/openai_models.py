"""GET /v1/models: which models there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from qrt.server.errors import RefusedError
from qrt.server.kinds import capabilities
from qrt.server.models import Entry, Models
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response


def described(entry: Entry, can: Sequence[str]) -> dict[str, Any]:
    """An entry as OpenAI lists it, what Ollama says that it can do, and what llama-server tells of
    a loaded one."""
    found: dict[str, Any] = {
        "id": entry.name,
        "object": "model",
        "created": entry.created,
        "owned_by": "qrt",
        "capabilities": can,
    }
    if entry.info is not None:
        info = entry.info
        found["meta"] = {
            "n_vocab": info.n_vocab,
            "n_ctx": info.n_ctx,
            "n_ctx_train": info.n_ctx_train,
            "n_embd": info.dim,
            "n_params": info.n_params,
            "size": info.file_bytes,
        }
    return found


async def listed(request: Request[Any]) -> Response:
    """All models."""
    return json_response({"object": "list", "data": await all_described(request.models)})


async def all_described(models: Models) -> list[dict[str, Any]]:
    """All entries."""
    entries = models.entries()
    found = await capabilities(entries)
    return [described(entry, found[entry.name]) for entry in entries]


async def one(request: Request[Any]) -> Response:
    """One model. 404 for a name that there is not."""
    name = request.params["name"]
    for entry in request.models.entries():
        if entry.name == name:
            found = await capabilities([entry])
            return json_response(described(entry, found[name]))
    raise RefusedError(
        404, f"there is no model {name[:100]!r}", param="model", code="model_not_found"
    )


ROUTES = (
    Route(("GET",), "/v1/models", listed, summary="The models"),
    Route(("GET",), "/v1/models/{name:path}", one, summary="One model"),
)
