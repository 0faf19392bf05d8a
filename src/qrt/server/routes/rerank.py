"""POST /v1/rerank: which of several texts answer a query best, as Jina's and TEI's clients ask."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct
from starlette.responses import Response

from qrt.server.errors import NATIVE, RefusedError
from qrt.server.routes.embedding_parts import ranks
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response


class Document(Struct):
    """A text that is given as an object."""

    text: str


class Rerank(Struct, kw_only=True):
    """A query and what may answer it: `documents`, or `texts` for an answer in the form of
    text-embeddings-inference. top_n: so many results at most."""

    query: str
    documents: list[str | Document] | None = None
    texts: list[str] | None = None
    model: str | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool = False
    return_text: bool = False
    truncate: bool = False


async def rerank(request: Request[Rerank]) -> Response:
    """Texts by their scores, the best first."""
    body = request.body
    given = body.documents if body.texts is None else body.texts
    if not given:
        raise RefusedError(400, "documents: expected a list of texts that is not empty")
    texts = [one if isinstance(one, str) else one.text for one in given]
    served = await request.acquire(body.model)
    found, n_tokens = await ranks(request, served, body.query, texts, truncate=body.truncate)
    results: list[dict[str, Any]] = []
    for index, score in found[: body.top_n]:
        if body.texts is not None:
            text = {"text": texts[index]} if body.return_text else {}
            results.append({"index": index, "score": score, **text})
        else:
            document = {"document": {"text": texts[index]}} if body.return_documents else {}
            results.append({"index": index, "relevance_score": score, **document})
    if body.texts is not None:
        return json_response(results)
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return json_response(
        {"object": "list", "model": served.name, "usage": usage, "results": results}
    )


ROUTES = Route(
    *(("POST",), "/v1/rerank", rerank, Rerank, NATIVE), summary="Rank texts for a query"
).at("/rerank", "/reranking", "/v1/reranking")
