"""`qrt serve`: a model behind the interfaces that clients of others speak."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from qrt.cli.arguments import only_model
from qrt.cli.chat_flags import ChatFlags
from qrt.cli.flags import ModelArgument, ModelFlag, PullFlag, in_server
from qrt.cli.output import note
from qrt.errors import BackendError, InputError

if TYPE_CHECKING:
    from qrt.server.config import ServerConfig

_NEEDED = ("starlette", "uvicorn", "msgspec", "prometheus_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """Where a server listens and whom it answers, named as in `ServerConfig`."""

    host: Annotated[
        str, in_server("--host", metavar="ADDRESS", help="Listen there. Default 127.0.0.1.")
    ] = "127.0.0.1"
    port: Annotated[int, in_server("--port", help="Default 8080; 0: a free one.")] = 8080
    api_keys: Annotated[
        list[str] | None,
        in_server("--api-key", metavar="KEY", help="One that requests must bring; repeatable."),
    ] = None
    api_key_file: Annotated[
        str | None, in_server("--api-key-file", metavar="FILE", help="The same, a line each.")
    ] = None
    allowed_hosts: Annotated[
        list[str] | None,
        in_server("--allowed-host", metavar="NAME", help="A name to be called by; repeatable."),
    ] = None
    cors_origins: Annotated[
        list[str] | None,
        in_server("--cors-origin", metavar="URL", help="A page that may use it; repeatable."),
    ] = None
    drain_s: Annotated[
        float, in_server("--drain", metavar="S", help="Let answers end so long. Default 30.")
    ] = 30.0
    log_requests: Annotated[
        bool, in_server("--log-requests", metavar=None, help="A line for each request.")
    ] = False
    log_prompts: Annotated[
        bool, in_server("--log-prompts", metavar=None, help="Prompts and answers in the log.")
    ] = False

    def config(self) -> ServerConfig:
        """The server's settings. Raises InputError."""
        from qrt.cli.arguments import read_text
        from qrt.server.config import ServerConfig

        keys = list(self.api_keys or ())
        if self.api_key_file is not None:
            keys += [key.strip() for key in read_text(self.api_key_file).splitlines() if key]
            if not keys:
                raise InputError(f"{self.api_key_file}: has no key; write one a line")
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "api_keys": tuple(keys),
            "allowed_hosts": tuple(self.allowed_hosts or ()),
            "cors_origins": tuple(self.cors_origins or ()),
            "drain_s": self.drain_s,
            "log_requests": self.log_requests,
            "log_prompts": self.log_prompts,
        }
        return ServerConfig(**given)


def serve(
    server: ServerFlags,
    load: ChatFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    alias: Annotated[
        str | None, in_server("--alias", metavar="NAME", help="What clients call the model.")
    ] = None,
    yes: PullFlag = False,
) -> None:
    """Serve a model over HTTP.

    Clients of OpenAI's, Anthropic's and Ollama's interfaces and of llama-server find theirs.
    """
    start(server.config(), load, model, model_flag, alias, yes=yes)


def start(
    config: ServerConfig,
    load: ChatFlags,
    model: str | None,
    model_flag: str | None,
    alias: str | None,
    *,
    yes: bool,
    on_listening: Callable[[str], object] = lambda _: None,
) -> None:
    """Serves until a signal comes; `on_listening` is given the address, before the model is there.

    Raises InputError, BackendError.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BackendError(f"a server needs {', '.join(missing)}; pip install 'qrt[server]'")
    path = only_model(model, model_flag, yes=yes)
    name = alias or (model or model_flag if path is not None else "pydoc")
    assert name is not None
    if path is not None and name.endswith(".gguf"):
        name = Path(name).stem
    _serve(config, path, load, name, on_listening)


def _serve(
    config: ServerConfig,
    path: str | None,
    load: ChatFlags,
    name: str,
    on_listening: Callable[[str], object],
) -> None:
    """Listens at once, and answers when the model is loaded."""
    import logging
    import threading

    from qrt.cli.loading import loaded
    from qrt.server.app import build
    from qrt.server.models import OneModel
    from qrt.server.run import Server, listening, run

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("qrt.server").setLevel(logging.INFO)
    models = OneModel(name, template_vars=load.template_vars)
    listener = listening(config)
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    on_listening(address)
    failures: list[BaseException] = []

    def fill(server: Server) -> None:
        def work() -> None:
            try:
                models.put(loaded(path, load))
            except BaseException as error:
                failures.append(error)
                server.should_exit = True
            else:
                note(sys.stderr, f"{name} at {address}")

        threading.Thread(target=work, name="qrt-load", daemon=True).start()

    run(build(config, models), config, listener, fill)
    if failures:
        raise failures[0]
