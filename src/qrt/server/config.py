"""How a server is set up: where it listens, whom it answers, and the bounds of a request."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from qrt.errors import InputError
from qrt.runtime.checks import check_float, check_int
from qrt.server.whereabouts import Whereabouts

_MIB = 1 << 20
_INTS = {
    "port": (0, 65535),
    "max_body": (1024, 4096 * _MIB),
    "max_header_bytes": (1024, _MIB),
    "max_headers": (8, 10_000),
    "max_choices": (1, 64),
}
_SECONDS = ("head_s", "body_s", "stall_s", "idle_s", "ping_s", "drain_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """A server's settings. Every value is checked: `InputError` names what is wrong.

    host, port: where it listens; port 0 takes a free one.
    api_keys: those that a request may bring; none: requests need none, on a loopback host only.
    allowed_hosts: names that a request may call this server by, beside those that it has anyway.
    cors_origins: pages of other servers that may use it, as https://example.org.
    max_body, max_header_bytes, max_headers: of a request.
    max_choices: answers to one request (n, best_of).
    head_s, body_s: seconds for the headers of a request to come in, and for its body, with another
        for each 64 KiB of it. stall_s: how long a reader may read nothing. idle_s: how long a
        connection without a request is kept.
    ping_s: an event stream that has had nothing to say for so long says that it is alive.
    drain_s: how long running requests may go on once the server was told to end.
    log_requests: a line for each request. log_prompts: what was asked and answered, in full.
    page: the chat page at /.
    slot_save_path: a directory of our own where slots are saved, which are then those that requests
        name; None: a slot belongs to nobody.
    local: what tells programs of the same user that it is this server; its key is an API key.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body: int = 16 * _MIB
    max_header_bytes: int = 16 * 1024
    max_headers: int = 100
    max_choices: int = 8
    head_s: float = 10.0
    body_s: float = 10.0
    stall_s: float = 30.0
    idle_s: float = 60.0
    ping_s: float = 15.0
    drain_s: float = 30.0
    log_requests: bool = False
    log_prompts: bool = False
    page: bool = True
    slot_save_path: str | None = None
    local: Whereabouts | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _INTS.items():
            check_int(name, getattr(self, name), low, high)
        for name in _SECONDS:
            check_float(name, getattr(self, name), 0.0, 86400.0)
        if not all(key.strip() == key and key for key in self.api_keys):
            raise InputError("an API key must not be empty, or begin or end with a space")
        if not self.is_local and not self.api_keys:
            raise InputError(
                f"--host {self.host}: other machines could use this server; give --api-key KEY, or "
                "leave --host out"
            )
        if "*" in self.cors_origins and not self.api_keys:
            raise InputError(
                "--cors-origin *: every web page could use this server; give --api-key"
            )

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, for itself alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
