"""Whether the server lives and is ready, what it counts, and the document of its routes."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from qrt.server.errors import ENDING, NATIVE, RefusedError
from qrt.server.openapi import document
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response


async def live(_: Request[Any]) -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def ready(request: Request[Any]) -> Response:
    """A request would be answered now. 503 while the model is being loaded, and at the end."""
    if request.state.is_draining:
        raise ENDING
    if not request.models.is_ready:
        raise RefusedError(503, "Loading model")
    if any(health.is_stuck for health in request.state.metrics.healths()):
        raise RefusedError(503, "a step of a model hangs; the server's log says where")
    return json_response({"status": "ok"})


async def instance(request: Request[Any]) -> Response:
    """Proves to a program of the same user, which knows the secret, that this is its server."""
    local, nonce = request.config.local, request.query.get("nonce", "")
    if local is None or not _NONCE.fullmatch(nonce):
        raise RefusedError(404, "there is nothing to prove here")
    return json_response({"pid": local.pid, "proof": local.proof(nonce)})


async def metrics(request: Request[Any]) -> Response:
    """Counts for Prometheus."""
    return Response(
        request.state.metrics.written(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


async def openapi(request: Request[Any]) -> Response:
    """The document of all routes."""
    return json_response(document(request.state.table.routes))


_GET = ("GET",)
_NONCE = re.compile("[0-9a-f]{64}")
ROUTES = (
    *Route(
        _GET, "/health", ready, shape=NATIVE, open=True, summary="Whether requests are answered"
    ).at("/v1/health", "/health/ready"),
    Route(_GET, "/health/live", live, shape=NATIVE, open=True, summary="Whether the process lives"),
    Route(_GET, "/instance", instance, shape=NATIVE, open=True, summary="Whose server this is"),
    Route(_GET, "/metrics", metrics, shape=NATIVE, summary="Counts for Prometheus"),
    Route(_GET, "/openapi.json", openapi, shape=NATIVE, summary="This document"),
)
