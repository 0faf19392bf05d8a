"""The checks that every request passes before a route sees it: who asks, from where, how much."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import re
import socket
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.datastructures import Headers

from qrt.server.config import ServerConfig, is_loopback
from qrt.server.errors import RefusedError
from qrt.server.parts import received

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]+)(?::(\d{1,5}))?")
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""

_BYTES_A_SECOND = 64 * 1024
_MAX_PARTS = 500_000
"""Objects and lists of a body: they are made while all other requests wait."""
_MAX_COMPARED = 1 << 20
"""Bytes of a body in which names that stand twice are looked for, which takes Python's time."""
_WHERE = re.compile(r" - at `\$\.?(.*?)`$")
_FIELD = re.compile(r"[A-Za-z_]\w*")

_UNSAID = ("", "application/x-www-form-urlencoded")
"""Types of bodies that programs send without thinking of one."""
_OF_PAGES = ("origin", "sec-fetch-site")
"""Headers that browsers send with whatever a page asks to be sent."""


class Guard:
    """The checks of one server. All raise RefusedError."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._keys = [key.encode() for key in config.api_keys]
        if self._keys and config.local is not None:
            self._keys.append(config.local.key.encode())
        self._names = {name.lower() for name in config.allowed_hosts} | {"localhost"}
        if not config.is_local:
            self._names |= {config.host.lower(), socket.gethostname().lower()}

    def check_size(self, scope: Scope) -> None:
        """431 for more headers than the server takes."""
        headers = scope["headers"]
        n_bytes = sum(len(name) + len(value) for name, value in headers)
        n_bytes += len(scope.get("raw_path") or b"") + len(scope["query_string"])
        config = self._config
        if len(headers) > config.max_headers or n_bytes > config.max_header_bytes:
            raise RefusedError(
                431,
                f"a request may have {config.max_headers} headers, of {config.max_header_bytes} "
                "bytes together with its path",
            )

    def check_host(self, headers: Headers) -> None:
        """403 unless the request names this server as one that may be named: a page whose own
        name was pointed at this machine cannot."""
        given = headers.getlist("host")
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None or not self._is_own(found[1].lower()):
            raise RefusedError(
                403, "the Host header names another server; `--allowed-host NAME` would allow it"
            )

    def _is_own(self, name: str) -> bool:
        if name.removesuffix(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return not self._config.is_local or is_loopback(name)

    def check_origin(self, scope: Scope, headers: Headers) -> str | None:
        """403 where a page of another server would change something; the origin, if it is one of
        those that are told that they may read the answer."""
        origin = headers.get("origin")
        if origin is None:
            return None
        allowed = self._config.cors_origins
        if origin in allowed or "*" in allowed:
            return origin
        own = headers["host"].lower()
        if scope["method"] in SAFE or origin.lower() in (f"http://{own}", f"https://{own}"):
            return None
        raise RefusedError(
            403, "pages of other servers may not use this one; `--cors-origin ORIGIN` would let it"
        )

    def check_key(self, headers: Headers) -> str:
        """401 without one of the API keys; the salt of its key, "" where none is needed."""
        if not self._keys:
            return ""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        brought = given.encode("latin-1")
        same = [hmac.compare_digest(brought, key) for key in self._keys]
        if not any(same):
            raise RefusedError(
                401,
                "the API key is missing or wrong; send it as `Authorization: Bearer KEY`",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return hashlib.sha256(brought).hexdigest()

    def check_media(self, scope: Scope, headers: Headers) -> None:
        """415 for a body that is not plain JSON, which a page of another server could send
        unasked. What is no page may leave the type out, or say what `curl -d` says."""
        if scope["method"] in SAFE:
            return
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_page = any(name in headers for name in _OF_PAGES)
        if media != "application/json" and (is_page or media not in _UNSAID):
            raise RefusedError(415, "send JSON, with the header `Content-Type: application/json`")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(415, "send the body as it is, without Content-Encoding")

    async def read_body(self, receive: Receive, headers: Headers) -> bytes:
        """The whole body. 413 for one that is too large, 408 for one that comes too slowly."""
        config = self._config
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > config.max_body:
            raise self._too_large()
        loop = asyncio.get_running_loop()
        started, body, is_whole = loop.time(), bytearray(), False
        while not is_whole:
            deadline = started + config.body_s + len(body) / _BYTES_A_SECOND
            part, is_whole = await received(receive, deadline)
            body += part
            if len(body) > config.max_body:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> RefusedError:
        most = self._config.max_body
        return RefusedError(413, f"a body may have {most} bytes at most")


def decoded(body: bytes, struct: Any) -> Any:
    """The body of a request as a struct. Raises RefusedError that names the field."""
    try:
        if body.count(b"{") + body.count(b"[") > _MAX_PARTS:
            raise RefusedError(400, f"the body has more than {_MAX_PARTS} objects and lists")
        value = msgspec.json.decode(body or b"{}", type=struct)
        if len(body) <= _MAX_COMPARED:
            json.loads(body or b"{}", object_pairs_hook=_unique)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from None
    except RecursionError:
        raise RefusedError(400, "the body is nested too deep") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise RefusedError(400, f"the body is not valid JSON: {_line(error)}") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice in an object")


def _wrong_field(said: str) -> RefusedError:
    """What msgspec says, with the field in front: `messages[0].content: Expected ...`."""
    found = _WHERE.search(said)
    where = found[1] if found else ""
    what = said[: found.start()] if found else said
    message = f"{where}: {what}" if where else what
    first = _FIELD.match(where)
    return RefusedError(400, message, param=first[0] if first else None)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
