"""`qrt app`: the chat page, in the browser."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Annotated

from qrt.cli.flags import ModelArgument, ModelFlag, PullFlag, in_server
from qrt.cli.output import say
from qrt.cli.serving import LibraryFlags, start
from qrt.cli.serving_flags import ServingFlags


def app(
    library: LibraryFlags,
    load: ServingFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    port: Annotated[int, in_server("--port", help="Default: a free one.")] = 0,
    browser: Annotated[
        bool,
        in_server("--browser/--no-browser", metavar=None, help="Open the page, or only say where."),
    ] = True,
    yes: PullFlag = False,
) -> None:
    """Chat in the browser.

    The page is served on this machine, to this machine alone, until Ctrl-C.
    """
    from qrt.server.config import ServerConfig

    config = ServerConfig(port=port)
    show = partial(_show, is_opened=browser)
    start(config, library, load, model, model_flag, None, yes=yes, on_listening=show)


def _show(address: str, *, is_opened: bool) -> None:
    """Says where the page is, and opens it beside what goes on."""
    import threading
    import webbrowser

    say(sys.stdout, address)
    if is_opened and _has_screen():
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _has_screen() -> bool:
    """Whether a browser has a screen to open on; one in the terminal would take the terminal."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
