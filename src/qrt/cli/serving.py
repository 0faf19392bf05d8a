"""Runs a server, of one model or of all that this machine has, for `serve` and `app`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from qrt.cli.arguments import only_model
from qrt.cli.flags import in_server
from qrt.cli.output import note
from qrt.cli.serving_flags import ServingFlags
from qrt.errors import BackendError, InputError

if TYPE_CHECKING:
    from qrt.server.config import ServerConfig
    from qrt.server.models import Models, OneModel
    from qrt.server.run import Server
    from qrt.server.settings import Settings

_NEEDED = ("starlette", "uvicorn", "msgspec", "prometheus_client")

OnListening = Callable[[str], object]
"""Is given the address, before a model is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFlags:
    """What holds for a server of many models."""

    config_file: Annotated[
        str | None,
        in_server(
            "--config",
            metavar="FILE",
            help="Names and settings of models, in TOML. Default: models.toml in the user's "
            "configuration of qrt.",
        ),
    ] = None
    keep_alive: Annotated[
        str | None,
        in_server(
            "--keep-alive",
            metavar="T",
            help="How long a model stays loaded that nobody asks for, as 30m. Default 5m; -1: for "
            "ever.",
        ),
    ] = None

    def settings(self, load: ServingFlags) -> Settings:
        """Those of the file, beside the flags of the command line. Raises InputError."""
        from qrt.server.keep_alive import keep_alive_s
        from qrt.server.settings import Settings, read_settings, settings_file

        path = settings_file() if self.config_file is None else Path(self.config_file)
        is_there = path is not None and (self.config_file is not None or path.exists())
        settings = read_settings(path) if path is not None and is_there else Settings()
        if self.keep_alive is not None:
            settings = replace(settings, keep_alive=keep_alive_s(self.keep_alive))
        return replace(settings, load=load.keywords(), template_vars=load.template_vars)


def start(
    config: ServerConfig,
    library: LibraryFlags,
    load: ServingFlags,
    model: str | None,
    model_flag: str | None,
    alias: str | None,
    *,
    yes: bool,
    options: Mapping[str, Any] = MappingProxyType({}),
    on_listening: OnListening = lambda _: None,
) -> None:
    """Serves until a signal comes: the model that is named, or all. Raises InputError,
    BackendError.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BackendError(f"a server needs {', '.join(missing)}; pip install 'qrt[server]'")
    path = only_model(model, model_flag, yes=yes)
    if path is None:
        if alias is not None:
            raise InputError("--alias names one model; give MODEL, or aliases in --config FILE")
        if load.lora:
            raise InputError("--lora is of one model; give MODEL, or lora in --config FILE")
        if load.embedding is not None or load.pooling is not None:
            raise InputError(
                "--embedding and --pooling are of one model; give MODEL, or embedding = true in "
                "--config FILE"
            )
        if options:
            raise InputError("flags of sampling are of one model; give MODEL, or --config FILE")
        _serve_many(config, library.settings(load), on_listening)
        return
    if library != LibraryFlags():
        raise InputError("--config and --keep-alive are of a server of many; leave MODEL out")
    name = alias or model or model_flag
    assert name is not None
    from qrt.server.models import OneModel

    name = Path(name).stem if name.endswith(".gguf") else name
    models = OneModel(name, template_vars=load.template_vars, options=options)
    _serve_one(config, path, load, models, on_listening)


def _serve_one(
    config: ServerConfig,
    path: str,
    load: ServingFlags,
    models: OneModel,
    on_listening: OnListening,
) -> None:
    """Listens at once, and answers when the model is loaded."""
    import threading

    from qrt.cli.loading import loaded

    name = models.entries()[0].name
    failures: list[BaseException] = []

    def fill(server: Server, address: str) -> None:
        def work() -> None:
            try:
                models.put(loaded(path, load))
            except BaseException as error:
                failures.append(error)
                server.should_exit = True
            else:
                note(sys.stderr, f"{name} at {address}")

        threading.Thread(target=work, name="qrt-load", daemon=True).start()

    _run(config, models, on_listening, fill)
    if failures:
        raise failures[0]


def _serve_many(config: ServerConfig, settings: Settings, on_listening: OnListening) -> None:
    from qrt.server.many import ManyModels

    models = ManyModels(settings)
    names = [entry.name for entry in models.entries()]
    if not names:
        raise InputError("there is no model on this machine; `qrt pull qwen3:4b` fetches one")

    def tell(_: Server, address: str) -> None:
        count = f"{len(names)} models" if len(names) > 1 else names[0]
        note(sys.stderr, f"{count} at {address}, loaded when asked for")

    _run(config, models, on_listening, tell)


def _run(
    config: ServerConfig,
    models: Models,
    on_listening: OnListening,
    on_start: Callable[[Server, str], Any],
) -> None:
    import logging

    from qrt.server.app import build
    from qrt.server.run import listening, run
    from qrt.server.whereabouts import of_this_process, told

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("qrt.server").setLevel(logging.INFO)
    listener = listening(config)
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    where = of_this_process(address)
    config = replace(config, local=where)
    on_listening(address)
    with told(where):
        run(build(config, models), config, listener, lambda server: on_start(server, address))
