"""POST /embedding and /embeddings: vectors of texts, in llama-server's own form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from qrt.server.errors import NATIVE, RefusedError
from qrt.server.routes.embedding_parts import Wanted, check_embeds, embedded, is_one
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response

_MOST = 32760.0
"""What the largest value becomes where vectors are scaled for 16 bits."""


class EmbeddingBody(msgspec.Struct, kw_only=True):
    """A request for embeddings. embd_normalize: -1: not at all; 0: by the largest value; 1, 2 and
    so on: by the norm of that power."""

    content: Any = None
    input: Any = None
    model: str | None = None
    embd_normalize: Annotated[int, msgspec.Meta(ge=-1, le=64)] = 2
    dimensions: int | None = None


async def embedding(request: Request[EmbeddingBody]) -> Response:
    """The vectors of texts; of a model without pooling those of all tokens, as they are."""
    body = request.body
    given = body.content if body.input is None else body.input
    if given is None:
        raise RefusedError(400, "content is missing: a text, token ids, or a list")
    served = await request.acquire(body.model)
    check_embeds(served)
    power = -1 if served.model.info.pooling == "none" else body.embd_normalize
    wanted = Wanted(normalize=power == 2, dim=body.dimensions)
    done = await embedded(request, served, [given] if is_one(given) else given, wanted)
    vectors = done.vectors if power in (-1, 2) else [_scaled(one, power) for one in done.vectors]
    return native_response(vectors)


def native_response(vectors: Iterable[NDArray[np.float32]]) -> Response:
    """A list of vectors for each text: one, or as many as it has tokens."""
    told = [
        {"index": index, "embedding": np.atleast_2d(vector).tolist()}
        for index, vector in enumerate(vectors)
    ]
    return json_response(told)


def _scaled(vector: NDArray[np.float32], power: int) -> NDArray[np.float32]:
    sizes = np.abs(vector.astype(np.float64))
    peak = float(sizes.max())
    if peak == 0.0:
        return vector
    norm = (
        peak / _MOST if power == 0 else peak * float(((sizes / peak) ** power).sum() ** (1 / power))
    )
    return (vector / norm).astype(np.float32)


ROUTES = Route(
    *(("POST",), "/embedding", embedding, EmbeddingBody, NATIVE), summary="Embed texts"
).at("/embeddings")
