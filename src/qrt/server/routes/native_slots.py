"""llama-server's routes of slots: what runs, and what is kept of conversations in files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.responses import Response

from qrt.errors import InputError
from qrt.server.errors import NATIVE, RefusedError
from qrt.server.routing import Request, Route
from qrt.server.slots import Slot
from qrt.server.stream import json_response


class SlotFile(msgspec.Struct):
    """The file that a slot is saved to, or restored from."""

    filename: str | None = None
    model: str | None = None


async def slots(request: Request[Any]) -> Response:
    """What runs: a place for each generation that can run at the same time, which belongs to no
    request for longer than that."""
    model = (await request.acquire(request.query.get("model"))).model
    running = [one for one in model.health.generations if not one.is_waiting]
    if len(running) >= model.max_running and request.query.get("fail_on_no_slot"):
        raise RefusedError(503, "no slot available")
    common = {"n_ctx": model.info.n_ctx, "speculative": False}
    told = [
        {
            **common,
            "is_processing": True,
            "id_task": one.number,
            "n_prompt_tokens": one.n_prompt_tokens,
            "next_token": {"has_next_token": True, "n_decoded": one.n_tokens},
        }
        for one in running
    ]
    told += [{**common, "is_processing": False}] * (model.max_running - len(running))
    return json_response([{"id": place, **one} for place, one in enumerate(told)])


async def slot(request: Request[SlotFile]) -> Response:
    """Saves, restores or erases a slot, as ?action says."""
    body = request.body
    act = _ACTIONS.get(request.query.get("action", ""))
    if act is None:
        raise RefusedError(400, f"action: expected {', '.join(_ACTIONS)}", param="action")
    if request.state.slots is None:
        raise RefusedError(501, "slots are kept where the server has --slot-save-path DIR alone")
    number = request.params["id"]
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise RefusedError(400, "id_slot: expected a number", param="id_slot")
    model = (await request.acquire(body.model or request.query.get("model"))).model
    path = None
    if act is not _erased:
        path = request.state.slots.path(body.filename or "", request.key_salt)
    lent = request.state.slots.lent(model, request.key_salt, int(number), request)
    one = await request.held.enter_async_context(lent)
    told = await asyncio.to_thread(act, one, path)
    return json_response({"id_slot": int(number), **told})


def _saved(slot: Slot, path: Path) -> dict[str, Any]:
    if not slot.session.n_stored:
        raise InputError("id_slot: there is nothing in this slot yet")
    since = time.perf_counter()
    slot.session.save_state(path)
    return {
        "filename": path.name,
        "n_saved": slot.session.n_stored,
        "n_written": path.stat().st_size,
        "timings": {"save_ms": (time.perf_counter() - since) * 1000},
    }


def _restored(slot: Slot, path: Path) -> dict[str, Any]:
    since = time.perf_counter()
    try:
        n_tokens = slot.session.load_state(path)
    except FileNotFoundError:
        raise RefusedError(404, "filename: nothing was saved so", param="filename") from None
    return {
        "filename": path.name,
        "n_restored": n_tokens,
        "n_read": path.stat().st_size,
        "timings": {"restore_ms": (time.perf_counter() - since) * 1000},
    }


def _erased(slot: Slot, _: Path | None) -> dict[str, Any]:
    n_erased = slot.session.n_stored
    slot.erase()
    return {"n_erased": n_erased}


_ACTIONS: Final[Mapping[str, Callable[[Slot, Any], dict[str, Any]]]] = {
    "save": _saved,
    "restore": _restored,
    "erase": _erased,
}

ROUTES = (
    Route(("GET",), "/slots", slots, shape=NATIVE, summary="What runs"),
    Route(
        *(("POST",), "/slots/{id}", slot, SlotFile, NATIVE),
        summary="Save, restore or erase a slot",
    ),
)
