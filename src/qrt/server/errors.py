"""What a client is told when a request fails, in the shape of the API that it speaks."""

from __future__ import annotations

import logging
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from qrt.errors import ContextFullError, FullError, QrtError

LOG = logging.getLogger("qrt.server")

_INTERNAL = 500
_WORD = re.compile(r"\w+")
_RETRY_S = {429: 1, 503: 2}
_CODES: Mapping[type[QrtError], str] = {
    ContextFullError: "context_length_exceeded",
    FullError: "rate_limit_exceeded",
}
"""What OpenAI's clients look at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request was not answered.

    param: the field that is wrong; code: OpenAI's word for it; headers: for the response; numbers:
    beside the message, for programs.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class RefusedError(QrtError):
    """A request that this server does not take, as `failure` says."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        numbers: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.http_status = status
        headers = _with_retry(status, headers)
        self.failure = Failure(status, message, param, code, headers, numbers)


def failure_of(error: BaseException, body: object = None) -> Failure:
    """What a client is told of an error: of one that is not the client's own, only where the log
    has it, since messages name files of this machine.

    body: of the request; a field of it that the message begins with is to blame.
    """
    if isinstance(error, RefusedError):
        return error.failure
    status = error.http_status if isinstance(error, QrtError) else _INTERNAL
    if isinstance(error, QrtError) and status != _INTERNAL:
        headers = {}
        if isinstance(error, FullError):
            headers["retry-after"] = str(math.ceil(error.retry_after_s))
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
        message = str(error)
        first = _WORD.match(message)
        param = first[0] if first and first[0] in getattr(body, "__struct_fields__", ()) else None
        return Failure(status, message, param, code, _with_retry(status, headers))
    number = uuid.uuid4().hex[:12]
    if isinstance(error, QrtError):
        LOG.error("error %s: %s", number, error)
        message = f"the model cannot be used; the server's log says why, under {number}"
    else:
        LOG.error("error %s", number, exc_info=error)
        message = f"the server made a mistake; its log says which, under {number}"
    return Failure(_INTERNAL, message)


def _with_retry(status: int, headers: Mapping[str, str]) -> Mapping[str, str]:
    if status not in _RETRY_S or "retry-after" in headers:
        return headers
    return {**headers, "retry-after": str(_RETRY_S[status])}


ENDING = RefusedError(503, "the server is ending; ask again soon")
"""Why a request is not begun, or not finished, by a server that was told to end."""


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """How an API words a failure: `body` is the JSON of a response, `frame` makes its bytes the
    last event of a stream."""

    body: Callable[[Failure], dict[str, Any]]
    frame: Callable[[bytes], bytes]

    def encoded(self, failure: Failure) -> bytes:
        """The body of a response."""
        return msgspec.json.encode(self.body(failure))

    def event(self, failure: Failure) -> bytes:
        """The last event of a stream that had begun."""
        return self.frame(self.encoded(failure))


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
}
_TYPES_OF_CODES = {"context_length_exceeded": "exceed_context_size_error"}
"""llama-server's word for what OpenAI tells by a code."""
_ANTHROPIC_TYPES = _TYPES | {413: "request_too_large", 503: "overloaded_error"}


def _type(types: Mapping[int, str], status: int, other: str) -> str:
    return types.get(status, types[400] if status < _INTERNAL else other)


def _openai(failure: Failure) -> dict[str, Any]:
    told = {"message": failure.message, "type": _native_type(failure)}
    return {"error": {**told, "param": failure.param, "code": failure.code, **failure.numbers}}


def _native(failure: Failure) -> dict[str, Any]:
    told = {"message": failure.message, "type": _native_type(failure)}
    return {"error": {"code": failure.status, **told, **failure.numbers}}


def _native_type(failure: Failure) -> str:
    kind = _TYPES_OF_CODES.get(failure.code or "")
    return kind or _type(_TYPES, failure.status, "server_error")


def _anthropic(failure: Failure) -> dict[str, Any]:
    kind = _type(_ANTHROPIC_TYPES, failure.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


OPENAI = ErrorShape(_openai, lambda body: b"data: " + body + b"\n\n")
NATIVE = ErrorShape(_native, lambda body: b"data: " + body + b"\n\n")
ANTHROPIC = ErrorShape(_anthropic, lambda body: b"event: error\ndata: " + body + b"\n\n")
OLLAMA = ErrorShape(lambda failure: {"error": failure.message}, lambda body: body + b"\n")
