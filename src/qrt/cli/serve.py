"""`qrt serve`: a model behind the interfaces that clients of others speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from qrt.cli.flags import ModelArgument, ModelFlag, PullFlag, in_server
from qrt.cli.generate_flags import GenerateFlags
from qrt.cli.serving import LibraryFlags, start
from qrt.cli.serving_flags import ServingFlags
from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.server.config import ServerConfig


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

    page: Annotated[
        bool, in_server("--page/--no-page", metavar=None, help="The chat page at /.")
    ] = True
    slot_save_path: Annotated[
        str | None,
        in_server(
            "--slot-save-path",
            metavar="DIR",
            help="Keep a conversation for each id_slot, which /slots saves there and restores.",
        ),
    ] = None

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
            "page": self.page,
            "slot_save_path": self.slot_save_path,
        }
        return ServerConfig(**given)


def serve(
    server: ServerFlags,
    library: LibraryFlags,
    load: ServingFlags,
    generate: GenerateFlags,
    model: ModelArgument = None,
    model_flag: ModelFlag = None,
    alias: Annotated[
        str | None, in_server("--alias", metavar="NAME", help="What clients call the model.")
    ] = None,
    install_service: Annotated[
        str | None,
        in_server(
            "--install-service",
            metavar="KIND",
            help="Print a unit for systemd or launchd that runs this command, and how to use it.",
        ),
    ] = None,
    yes: PullFlag = False,
) -> None:
    """Serve models over HTTP.

    Clients of OpenAI's, Anthropic's and Ollama's interfaces and of llama-server find theirs.
    Without MODEL, all models of this machine are there: each is loaded when it is asked for.
    Flags of sampling hold where a request says nothing.
    """
    if install_service is not None:
        from qrt.cli.services import print_unit

        print_unit(install_service)
        return
    given = generate.keywords()
    options = {name: value for name, value in given.items() if value is not False}
    start(server.config(), library, load, model, model_flag, alias, yes=yes, options=options)
