"""The parts of a request's body, as they come in."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from qrt.server.errors import RefusedError

_CLOSE = {"connection": "close"}


async def received(receive: Receive, deadline: float) -> tuple[bytes, bool]:
    """The next part, and whether it is the last; `deadline` is on the event loop's clock.

    Raises RefusedError: 408 for one that comes too slowly, 400 where the client has gone.
    """
    try:
        async with asyncio.timeout_at(deadline):
            message = await receive()
    except TimeoutError:
        raise RefusedError(408, "the body came too slowly", headers=_CLOSE) from None
    if message["type"] == "http.disconnect":
        raise RefusedError(400, "the body is not complete", headers=_CLOSE)
    return message.get("body", b""), not message.get("more_body")
