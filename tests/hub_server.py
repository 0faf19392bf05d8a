"""A Hugging Face hub on 127.0.0.1, with faults to order, and a machine without models."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from qrt.cli.app import app

REPO = "owner/model-GGUF"
DATA = bytes(range(256)) * 40
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A repository: its files, what it claims of them, how it misbehaves; others beside it."""

    repo: str = REPO
    files: dict[str, bytes] = field(default_factory=dict)
    arch: str | None = "llama"
    n_downloads: int = 7
    others: list[Hub] = field(default_factory=list)
    listed: dict[str, bytes] = field(default_factory=dict)
    """What the listing describes where it differs from what is sent."""
    token: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every answer, in place of the right ones."""
    page: bytes | None = None
    """Sent instead of the listing."""
    storage: Hub | None = None
    """Another server, that downloads are sent on to."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next downloads break off."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and range of what was asked."""
    tokens: list[str | None] = field(default_factory=list)
    """The tokens that came with it."""
    endpoint: str = ""

    def downloads(self) -> list[str | None]:
        """The ranges of all downloads of files."""
        return [
            where
            for method, path, where in self.requests
            if "/resolve/" in path and method == "GET"
        ]

    def listing(self) -> bytes:
        """The answer to /api/models/REPO."""
        if self.page is not None:
            return self.page
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "lfs": {
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "pointerSize": 130,
                },
            }
            for name, data in (self.files | self.listed).items()
        ]
        gguf = {"architecture": self.arch} if self.arch else None
        model = {"id": self.repo, "sha": COMMIT, "siblings": siblings, "gguf": gguf}
        return json.dumps(model).encode()

    def found(self, query: str) -> bytes:
        """The answer to /api/models?search=WORDS, the most downloaded last."""
        asked = {key: values[0] for key, values in parse_qs(query).items()}
        assert asked["filter"] == "gguf"
        words = asked["search"].lower().split()
        hubs = [h for h in (self, *self.others) if all(w in h.repo.lower() for w in words)]
        hubs.sort(key=lambda h: h.n_downloads, reverse=asked["sort"] != "downloads")
        kept = hubs[-int(asked["limit"]) :]
        return json.dumps([{"id": h.repo, "downloads": h.n_downloads} for h in kept]).encode()


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serves a hub; `hub.endpoint` is where."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            asked = self.headers.get("Range")
            hub.requests.append((self.command, self.path, asked))
            hub.tokens.append(self.headers.get("Authorization"))
            may = hub.token is None or self.headers.get("Authorization") == f"Bearer {hub.token}"
            if not may or hub.status != 200:
                self.send(hub.status if may else 401, b"", {}, with_body)
            elif self.path.startswith("/api/models"):
                self.send_about_models(with_body)
            else:
                name = self.path.removeprefix(f"/{hub.repo}/resolve/main/")
                if name not in hub.files:
                    self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
                    return
                self.send_file(name, asked, with_body)

        def send_about_models(self, with_body: bool) -> None:
            path, _, query = self.path.removeprefix("/api/models").partition("?")
            hubs = [h for h in (hub, *hub.others) if h.repo.lower() == path[1:].lower()]
            if path and not hubs:
                self.send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)
                return
            body = hubs[0].listing() if path else hub.page or hub.found(query)
            self.send(200, body, {"Content-Type": "application/json"}, with_body)

        def send_file(self, name: str, asked: str | None, with_body: bool) -> None:
            data = hub.files[name]
            etag = hashlib.sha256(hub.listed.get(name, data)).hexdigest()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
            if hub.storage is not None:
                headers["Location"] = hub.storage.endpoint + self.path
                linked = {"X-Linked-Etag": headers.pop("ETag"), "X-Linked-Size": str(len(data))}
                self.send(302, b"", headers | linked, with_body)
            elif asked is None:
                self.send(200, data, headers, with_body)
            else:
                self.send_rest(data, asked, headers, with_body)

        def send_rest(
            self, data: bytes, asked: str, headers: dict[str, str], with_body: bool
        ) -> None:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send(206, data[start:], headers, with_body)

        def send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers | hub.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                is_file = "/resolve/" in self.path
                self.wfile.write(body[: hub.cuts.pop(0)] if is_file and hub.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty machine: no model anywhere, a cache of its own."""
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "LLAMA_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setattr("qrt.hub.places._service_models", lambda: tmp_path / "none")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    return tmp_path / "hub"


@pytest.fixture
def hub(hub_cache, monkeypatch):  # noqa: ARG001
    """A hub with one model in two quantizations."""
    files = {"model-Q4_K_M.gguf": DATA, "model-Q8_0.gguf": DATA[:1000], "mmproj-F16.gguf": b"x"}
    with running(Hub(REPO, files)) as served:
        at(monkeypatch, served.endpoint)
        yield served


def at(monkeypatch, endpoint):
    """Sets what HF_ENDPOINT would have set before the library was imported."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def invoke(*args, piped=""):
    return CliRunner().invoke(app, [str(arg) for arg in args], input=piped)


def kept(cache):
    """Every file of models in the cache, whole or not, by its path there."""
    paths = (Path(folder, name) for folder, _, names in os.walk(cache) for name in names)
    shown = [path.relative_to(cache).as_posix() for path in paths]
    return sorted(p for p in shown if "/blobs/" in p or p.endswith((".gguf", ".incomplete")))
