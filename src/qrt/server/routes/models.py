"""The models of a server: how they stand, loading with progress, unloading, uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from qrt.errors import BackendError
from qrt.server.config import is_loopback
from qrt.server.errors import NATIVE, RefusedError
from qrt.server.keep_alive import kept_s
from qrt.server.models import Models, State
from qrt.server.routes import openai_models
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream, json_response, sse


class ModelBody(msgspec.Struct):
    """Names a model."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class LoadBody(ModelBody):
    """Names a model to load; keep_alive: as "5m", seconds, or -1; stream: tells the progress."""

    keep_alive: str | float | None = None
    stream: bool = False


def described(state: State) -> dict[str, Any]:
    """A state as JSON tells it; `status` is llama-server's."""
    progress = None
    if state.progress is not None:
        progress = dict(zip(("what", "done", "total"), state.progress, strict=True))
    engine = None
    if (health := state.health) is not None:
        engine = {
            "running": health.n_running,
            "waiting": health.n_waiting,
            "pages": sum(health.n_pages),
            "free_pages": sum(health.n_free_pages),
        }
    return {
        "id": state.name,
        "aliases": list(state.aliases),
        "status": {"value": state.stage, "progress": progress, "error": state.error},
        "requests": state.n_requests,
        "size": state.file_bytes,
        "memory": state.memory_bytes,
        "expires_in_s": state.expires_s,
        "engine": engine,
    }


async def list_models(request: Request[None]) -> Response:
    """All models and how they stand."""
    entries = {entry["id"]: entry for entry in await openai_models.all_described(request.models)}
    states = request.models.states()
    data = [entries.get(state.name, {}) | described(state) for state in states]
    return json_response({"object": "list", "data": data})


async def load(request: Request[LoadBody]) -> Response:
    """Loads a model; answered once it is there, or by events until then."""
    body, models = request.body, request.models
    keep_alive = kept_s(body.keep_alive)
    if body.stream:
        return EventStream(request, _loading(models, body.model, keep_alive))
    return json_response(described(await _touch(models, body.model, keep_alive)))


async def _touch(models: Models, name: str, keep_alive: float | None) -> State:
    """Loads a model, as a request for it would; its state afterwards."""
    async with await models.acquire(name, keep_alive) as served:
        found = served.name
    return next(state for state in models.states() if state.name == found)


async def _loading(
    models: Models, name: str, keep_alive: float | None
) -> AsyncGenerator[bytes, None]:
    with models.listening() as queue:
        task = asyncio.create_task(_touch(models, name, keep_alive))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (state := await queue.get()) is not None:
                if state.stage == "loading":
                    yield sse(described(state))
            yield sse(described(await task))
        finally:
            task.cancel()
            await asyncio.wait([task])


async def unload(request: Request[ModelBody]) -> Response:
    """Unloads a model once its requests have ended."""
    return json_response(described(await request.models.unload(request.body.model)))


async def changes(request: Request[None]) -> Response:
    """Events: all models as they stand, then each that changes."""
    return EventStream(request, _changes(request.models))


async def _changes(models: Models) -> AsyncGenerator[bytes, None]:
    with models.listening() as queue:
        for state in models.states():
            yield sse(described(state))
        while (changed := await queue.get()) is not None:
            yield sse(described(changed))


async def upload(request: Request[None]) -> Response:
    """Puts a GGUF file among this machine's models."""
    from qrt.hub.own import keep

    _check_uploader(request)
    name = request.query.get("name", "")
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or len(length) > 15:
        raise RefusedError(411, "an upload needs the header Content-Length")
    try:
        path = await keep(name, int(length), request.pieces())
    except BackendError as error:
        raise RefusedError(507, str(error)) from None
    request.models.look()
    return json_response({"id": f"local:{path.name}", "size": int(length)}, 201)


def _check_uploader(request: Request[None]) -> None:
    """403 unless the request has an API key, or comes from this machine and this server's page."""
    client = request.scope.get("client")
    is_near = client is not None and is_loopback(client[0])
    if not request.config.api_keys and not (is_near and "origin" in request.headers):
        raise RefusedError(
            403, "only the page of this server, or a request with an API key, may upload"
        )


ROUTES = (
    Route(("GET",), "/models", list_models, shape=NATIVE, summary="Models and how they stand"),
    Route(("POST",), "/models/load", load, LoadBody, NATIVE, summary="Load a model"),
    Route(("POST",), "/models/unload", unload, ModelBody, NATIVE, summary="Unload a model"),
    Route(("GET",), "/models/sse", changes, shape=NATIVE, summary="Models as they change"),
    Route(
        ("PUT",), "/models/upload", upload, shape=NATIVE, has_file=True, summary="Add a GGUF file"
    ),
)
