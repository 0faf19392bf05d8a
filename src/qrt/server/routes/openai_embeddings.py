"""POST /v1/embeddings: not yet."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from qrt.server.errors import RefusedError
from qrt.server.routing import Request, Route


class EmbeddingsBody(msgspec.Struct, kw_only=True):
    """A request for embeddings."""

    input: Any
    model: str | None = None
    encoding_format: str | None = None


async def embeddings(_: Request[EmbeddingsBody]) -> Response:
    """501: no model that qrt runs is an encoder."""
    raise RefusedError(
        501, "embeddings need an encoder model, which qrt does not run yet", code="not_supported"
    )


ROUTES = Route(
    ("POST",), "/v1/embeddings", embeddings, EmbeddingsBody, summary="Embeddings: not supported yet"
).at("/embeddings")
