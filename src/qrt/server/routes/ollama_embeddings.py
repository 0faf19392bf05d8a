"""POST /api/embed and /api/embeddings: vectors of texts, in Ollama's form."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from qrt.server.errors import OLLAMA
from qrt.server.keep_alive import kept_s
from qrt.server.routes.embedding_parts import Wanted, embedded
from qrt.server.routes.ollama_bodies import Name
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response

_NS = 1e9


class Embed(Struct, kw_only=True):
    """The body of /api/embed; without input it loads the model. truncate: longer texts are cut."""

    model: Name
    input: str | list[str] = []
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


class EmbedOne(Struct, kw_only=True):
    """The body of /api/embeddings, the older form; without a prompt it loads the model."""

    model: Name
    prompt: str = ""
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


async def embed(request: Request[Embed]) -> Response:
    """The vectors of texts, of length 1."""
    body = request.body
    served = await request.acquire(body.model, kept_s(body.keep_alive))
    loaded = time.perf_counter()
    texts = [body.input] if isinstance(body.input, str) else body.input
    found: dict[str, Any] = {"model": body.model, "embeddings": []}
    if texts:
        wanted = Wanted(dim=body.dimensions, truncate=body.truncate is not False)
        done = await embedded(request, served, texts, wanted)
        found["embeddings"] = [vector.tolist() for vector in done.vectors]
        found["prompt_eval_count"] = done.n_tokens
    now = time.perf_counter()
    found["total_duration"] = int((now - request.started) * _NS)
    found["load_duration"] = int((loaded - request.started) * _NS)
    return json_response(found)


async def embed_one(request: Request[EmbedOne]) -> Response:
    """The vector of a text, as long as it is."""
    body = request.body
    served = await request.acquire(body.model, kept_s(body.keep_alive))
    if not body.prompt:
        return json_response({"embedding": []})
    done = await embedded(request, served, [body.prompt], Wanted(normalize=False, truncate=True))
    return json_response({"embedding": done.vectors[0].tolist()})


_POST = ("POST",)
ROUTES = (
    Route(_POST, "/api/embed", embed, Embed, OLLAMA, summary="Embed texts"),
    Route(_POST, "/api/embeddings", embed_one, EmbedOne, OLLAMA, summary="Embed a text"),
)
