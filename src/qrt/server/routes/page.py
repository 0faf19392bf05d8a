"""GET /: the chat page and the files it is made of, a closed list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.responses import Response

from qrt.server.errors import RefusedError
from qrt.server.routing import Request, Route

_FOLDER = Path(__file__).parent.parent / "page"
_INDEX = "index.html"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'self'",
            *(f"{what} 'none'" for what in ("object-src", "base-uri", "form-action")),
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page. etag: of its bytes."""

    body: bytes
    media: str
    etag: str


def _file(body: bytes, suffix: str) -> _File:
    return _File(body, _MEDIA[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@cache
def _files() -> tuple[_File, str, Mapping[str, _File]]:
    """The page itself, the digest under which its files are asked for, and these by name.

    What a browser keeps is of one version, because the digest is a part of the address.
    """
    files = {
        str(PurePosixPath(path.relative_to(_FOLDER))): _file(path.read_bytes(), path.suffix)
        for path in sorted(_FOLDER.rglob("*.*"))
        if path.suffix in _MEDIA
    }
    index = files.pop(_INDEX).body
    every = "".join(f"{name}{file.etag}" for name, file in files.items())
    digest = hashlib.sha256(every.encode() + index).hexdigest()[:16]
    return _file(index.replace(b'"page/', f'"page/{digest}/'.encode()), ".html"), digest, files


def _response(request: Request[Any], file: _File, kept: str) -> Response:
    headers = {**_HEADERS, "cache-control": kept, "etag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(None, 304, headers)
    return Response(file.body, 200, headers, file.media)


async def page(request: Request[Any]) -> Response:
    """The page. 404 where the server shows none."""
    if not request.config.page:
        raise RefusedError(404, "this server has no page")
    index, _, _ = _files()
    return _response(request, index, "no-cache")


async def part(request: Request[Any]) -> Response:
    """A file of the page. 404 for a name that is not of the list, or of another version."""
    _, digest, files = _files()
    file = files.get(request.params["name"])
    if not request.config.page or file is None or request.params["digest"] != digest:
        raise RefusedError(404, "the page has no such file")
    return _response(request, file, _FOREVER)


_GET = ("GET",)
ROUTES = (
    Route(_GET, "/", page, open=True, summary="The chat page"),
    Route(_GET, "/page/{digest}/{name:path}", part, open=True, summary="A file of the page"),
)
