"""Talks to a server of this user that runs, or to one at a given address."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from qrt.errors import BackendError, InputError

if TYPE_CHECKING:
    import httpx2

    from qrt.server.whereabouts import Whereabouts

KEY_VARIABLE = "QRT_API_KEY"
_CONNECT_S = 5.0
_URL = re.compile(r"https?://[^\s/?#@]+/?")
_MOST_LINE = 1 << 20
_NONE_RUNS = "no server of yours runs; `qrt serve` starts one"


class Remote:
    """A server that answers; a context manager.

    Raises InputError for what the server says is wrong, BackendError where it cannot be reached.
    """

    def __init__(self, client: httpx2.Client, where: Whereabouts | None = None) -> None:
        self.where = where
        self._client = client

    @property
    def url(self) -> str:
        """Its address."""
        return str(self._client.base_url).rstrip("/")

    def get(self, path: str) -> Any:
        """What it answers in JSON."""
        with _explained(self.url):
            return _checked(self._client.get(path))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What it answers in JSON."""
        with _explained(self.url):
            return _checked(self._client.post(path, json=body))

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The events that it answers, in JSON; leaving the iterator ends the answer."""
        with _explained(self.url), self._client.stream("POST", path, json=body) as response:
            if response.status_code != 200:
                response.read()
                _checked(response)
            for line in response.iter_lines():
                text = line.removeprefix("data:").strip()
                if line.startswith("data:") and text != "[DONE]":
                    value = json.loads(text[:_MOST_LINE])
                    if isinstance(value, dict) and "error" in value:
                        raise InputError(f"{self.url}: {_message(value)}")
                    yield value

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def running(url: str | None = None) -> Remote:
    """The server at an address, or the newest of this user that runs.

    Raises InputError where there is none, or for what is no address.
    """
    if url is not None:
        if not _URL.fullmatch(url):
            raise InputError(f"--server-url: expected http://HOST:PORT, got {url!r}")
        found = next((w for w in _known() if w.url == url.rstrip("/") and _is_ours(w)), None)
        return _remote(url, found)
    for where in _known():
        if _is_ours(where):
            return _remote(where.url, where)
    raise InputError(_NONE_RUNS)


def all_running() -> list[Remote]:
    """All servers of this user that run, the newest first."""
    return [_remote(where.url, where) for where in _known() if _is_ours(where)]


def _known() -> list[Whereabouts]:
    from qrt.server.whereabouts import known

    return known()


def _remote(url: str, where: Whereabouts | None) -> Remote:
    import httpx2

    key = os.environ.get(KEY_VARIABLE) or (where.key if where is not None else "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx2.Timeout(None, connect=_CONNECT_S)
    is_own = where is not None
    return Remote(
        httpx2.Client(base_url=url, headers=headers, timeout=timeout, trust_env=not is_own), where
    )


def _is_ours(where: Whereabouts) -> bool:
    """Whether the program that listens there is the server that left its file, not one that came
    after it: nothing but a number was told to it so far.
    """
    import httpx2

    from qrt.server.whereabouts import new_nonce

    nonce = new_nonce()
    with suppress(httpx2.HTTPError, ValueError, AttributeError):
        answer = httpx2.get(
            f"{where.url}/instance",
            params={"nonce": nonce},
            timeout=_CONNECT_S,
            trust_env=False,
            follow_redirects=False,
        )
        return where.is_proven(nonce, answer.json().get("proof"))
    return False


@contextmanager
def _explained(url: str) -> Iterator[None]:
    import httpx2

    try:
        yield
    except httpx2.HTTPError as error:
        raise BackendError(f"{url}: {error or type(error).__name__}") from None
    except ValueError:
        raise BackendError(f"{url}: does not answer as a server of qrt does") from None


def _checked(response: httpx2.Response) -> Any:
    value = response.json()
    if response.status_code >= 400:
        raise InputError(f"{response.request.url.netloc.decode()}: {_message(value)}")
    return value


def _message(value: Any) -> str:
    """What an error in any of the server's shapes says."""
    error = value.get("error") if isinstance(value, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return str(said) if said else "the server refused, and does not say why"
