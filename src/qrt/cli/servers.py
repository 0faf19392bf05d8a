"""`qrt ps` and `qrt stop`: the servers of this user, and what they have loaded."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from qrt.cli.output import byte_size, note, printable

if TYPE_CHECKING:
    from qrt.cli.remote import Remote

_PATIENCE_S = 60.0
_BETWEEN_S = 0.05


def ps(
    every: Annotated[
        bool, Option("-a", "--all", help="Also the models that are not loaded.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the servers that you run, and the models that they have loaded.

    With the memory of each, the requests that use it, and when it is let go if nobody asks for it.
    """
    from qrt.cli.remote import all_running
    from qrt.cli.tables import print_table

    found: list[dict[str, Any]] = []
    for remote in all_running():
        with remote:
            models = remote.get("/models")["data"]
            pid = remote.where.pid if remote.where is not None else None
            found.append({"url": remote.url, "pid": pid, "models": models})
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not found:
        print("no server of yours runs; `qrt serve` starts one")
    for server in found:
        shown = [m for m in server["models"] if every or m["status"]["value"] != "unloaded"]
        rows = [("", "memory", "requests", "until"), *(_row(model) for model in shown)]
        print_table(f"{server['url']}, process {server['pid']}", rows, right=(1, 2))
        if not shown:
            print("no model is loaded")


def _row(model: dict[str, Any]) -> tuple[str, str, str, str]:
    memory = model.get("memory") or model.get("size") or 0
    stage = model["status"]["value"]
    until = stage if stage != "loaded" else "stays"
    if stage == "loaded" and model.get("expires_in_s") is not None:
        until = f"in {_duration(model['expires_in_s'])}"
    elif stage == "loaded" and model["requests"]:
        until = "in use"
    return printable(model["id"]), byte_size(memory), str(model["requests"]), until


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min" if whole >= 120 else f"{whole} s"


def stop(
    model: Annotated[
        str | None, Argument(metavar="MODEL", help="A model to unload; without it, the server.")
    ] = None,
) -> None:
    """Unload a model of a running server, or end the server.

    Both wait for the answers that are under way.
    """
    from qrt.cli.remote import running

    with running() as remote:
        if model is not None:
            remote.post("/models/unload", {"model": model})
            print(f"{printable(model)} is unloaded")
            return
        _end(remote)
        print(f"{remote.url} has ended")


def _end(remote: Remote) -> None:
    """Has a server end that proved to be the one of this file, and waits for that."""
    from qrt.server.whereabouts import lives

    assert remote.where is not None
    pid = remote.where.pid
    os.kill(pid, signal.SIGTERM)
    began = time.monotonic()
    is_told = False
    while lives(pid):
        if time.monotonic() - began > _PATIENCE_S and not is_told:
            note(sys.stderr, f"process {pid} has not ended yet; its answers go on (Ctrl-C leaves)")
            is_told = True
        time.sleep(_BETWEEN_S)
