"""What the server hands out of the chat page: a closed list, under strict headers; `qrt app`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from served import served

pytest.importorskip("starlette", reason="needs qrt[server]")


@pytest.fixture(scope="module")
def client(page_server) -> Iterator[httpx.Client]:
    with (
        served(model=page_server.model, api_keys=("secret",)) as closed,
        httpx.Client(base_url=closed.base_url) as client,
    ):
        yield client


def folder(client: httpx.Client) -> str:
    """Where the files of the page are."""
    found = re.search(r'src="(page/\w+)/main\.js"', client.get("/").text)
    assert found
    return f"/{found[1]}"


def test_the_page_needs_no_key_and_all_else_does(client: httpx.Client) -> None:
    page = client.get("/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
    linked = re.findall(r'(?:src|href)="(page/[^"#]+)', page.text)
    assert len(linked) > 5
    for path in linked:
        assert client.get(path).headers["cache-control"].endswith("immutable")
    assert client.get("/models").status_code == 401
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)


def test_what_a_browser_has_is_not_sent_again(client: httpx.Client) -> None:
    for path in ("/", f"{folder(client)}/main.js"):
        etag = client.get(path).headers["etag"]
        again = client.get(path, headers={"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(path, headers={"if-none-match": '"old"'}).status_code == 200


@pytest.mark.parametrize(
    "name", ["", "..%2froutes%2fpage.py", "%2e%2e/app.py", "index.html", "main.js%00", "//main.js"]
)
def test_nothing_but_the_list_is_handed_out(client: httpx.Client, name: str) -> None:
    assert client.get(f"{folder(client)}/{name}").status_code in (401, 404)
    assert client.get(f"/page/0000000000000000/{name or 'main.js'}").status_code in (401, 404)


def test_a_server_may_have_no_page(page_server) -> None:
    with served(model=page_server.model, page=False) as bare:
        assert httpx.get(bare.base_url).status_code == 404


def test_the_app_says_where_it_is_and_ends_when_told() -> None:
    command = [sys.executable, "-m", "qrt", "app", "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            assert running.stdout
            address = running.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
            assert "<title>qrt</title>" in httpx.get(address, timeout=20).text
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(20) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
