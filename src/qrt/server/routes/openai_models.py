"""GET /v1/models: which models there are."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from qrt.server.errors import RefusedError
from qrt.server.models import Entry
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response


def described(entry: Entry) -> dict[str, Any]:
    """An entry as OpenAI lists it, and what llama-server tells of a loaded one."""
    found: dict[str, Any] = {
        "id": entry.name,
        "object": "model",
        "created": entry.created,
        "owned_by": "qrt",
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
    data = [described(entry) for entry in request.models.entries()]
    return json_response({"object": "list", "data": data})


async def one(request: Request[Any]) -> Response:
    """One model. 404 for a name that there is not."""
    name = request.params["name"]
    for entry in request.models.entries():
        if entry.name == name:
            return json_response(described(entry))
    raise RefusedError(
        404, f"there is no model {name[:100]!r}", param="model", code="model_not_found"
    )


ROUTES = (
    Route(("GET",), "/v1/models", listed, summary="The models"),
    Route(("GET",), "/v1/models/{name:path}", one, summary="One model"),
)
