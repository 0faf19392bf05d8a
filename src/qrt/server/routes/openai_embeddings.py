"""POST /v1/embeddings: vectors of texts, as numbers or as their bytes."""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from qrt.server.errors import RefusedError
from qrt.server.routes.embedding_parts import Embedded, Wanted, check_embeds, embedded, is_one
from qrt.server.routes.native_embeddings import native_response
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response


class EmbeddingsBody(msgspec.Struct, kw_only=True):
    """A request for embeddings. input: a text, token ids, or a list of them; content: the same, for
    an answer in llama-server's form. dimensions: only so many values of each vector. task: what
    the texts are for, of a model that knows tasks."""

    input: Any = None
    content: Any = None
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    task: str | None = None


async def embeddings(request: Request[EmbeddingsBody]) -> Response:
    """The vectors of texts."""
    body = request.body
    given = body.content if body.input is None else body.input
    if given is None:
        raise RefusedError(400, "input is missing: a text, token ids, or a list", param="input")
    served = await request.acquire(body.model)
    check_embeds(served)
    is_native = body.input is None
    if served.model.info.pooling == "none" and not is_native:
        raise RefusedError(
            400, f"{served.name} makes a vector for each token; POST /embeddings gives them"
        )
    inputs = [given] if is_one(given) else given
    done = await embedded(request, served, inputs, Wanted(dim=body.dimensions, task=body.task))
    if is_native:
        return native_response(done.vectors)
    return json_response(_listed(done, served.name, is_bytes=body.encoding_format == "base64"))


def _listed(done: Embedded, name: str, *, is_bytes: bool) -> dict[str, Any]:
    usage = {"prompt_tokens": done.n_tokens, "total_tokens": done.n_tokens}
    data = [
        {"object": "embedding", "index": index, "embedding": _told(vector, is_bytes)}
        for index, vector in enumerate(done.vectors)
    ]
    return {"object": "list", "data": data, "model": name, "usage": usage}


def _told(vector: NDArray[np.float32], is_bytes: bool) -> str | list[float]:
    if is_bytes:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    values: list[float] = vector.tolist()
    return values


ROUTES = (Route(("POST",), "/v1/embeddings", embeddings, EmbeddingsBody, summary="Embed texts"),)
