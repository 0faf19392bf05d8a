"""The chat page in Debian's Chromium, with answers from the server or written by a test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell")
ARGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
WRITTEN = """
const asked = (window.__asked = []);
let writer = null;
const fetched = window.fetch;
window.fetch = (path, options) => {
  if (!String(path).endsWith("v1/chat/completions")) return fetched(path, options);
  asked.push(JSON.parse(options.body));
  const body = new ReadableStream({ start: (controller) => (writer = controller) });
  options.signal.addEventListener("abort", () => {
    writer?.error(options.signal.reason);
    writer = null;
  });
  const headers = { "content-type": "text/event-stream" };
  return Promise.resolve(new Response(body, { headers }));
};
window.__write = async (chunk) => {
  while (!writer) await new Promise((resolve) => setTimeout(resolve, 5));
  const text = chunk === null ? "[DONE]" : JSON.stringify(chunk);
  writer.enqueue(new TextEncoder().encode(`data: ${text}\\n\\n`));
  if (chunk !== null) return;
  writer.close();
  writer = null;
};
"""
"""Answers of a chat are what a test writes."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield browser
        browser.close()


@dataclass
class Chat:
    """A page that shows a chat, and what it does."""

    page: Page
    base_url: str
    troubles: list[str] = field(default_factory=list)
    """What the browser complained of, dialogs, and requests to other servers."""

    def open(self, path: str = "/") -> None:
        """Shows the page, until it is ready."""
        self.page.goto(self.base_url + path)
        expect(self.page.locator("html[data-ready]")).to_be_attached()

    def __getitem__(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def button(self, name: str) -> Locator:
        """The buttons of a name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def send(self, text: str) -> None:
        """Types a message and sends it."""
        self["#box"].fill(text)
        self["#box"].press("Enter")

    def write(self, *deltas: dict[str, Any] | str) -> None:
        """Writes pieces of the answer that is waited for."""
        for delta in deltas:
            told = {"content": delta} if isinstance(delta, str) else delta
            self.page.evaluate("(chunk) => window.__write(chunk)", chunk(told))

    def end(self, finish: str = "stop", **also: Any) -> None:
        """Ends the answer; what else its last chunk has."""
        last = {**chunk({}), **also}
        last["choices"][0]["finish_reason"] = finish
        for told in (last, None):
            self.page.evaluate("(chunk) => window.__write(chunk)", told)
        expect(self["#stop"]).to_be_hidden()

    def say(self, text: str, answer: str) -> None:
        """Says something, which is answered so."""
        before = self[".assistant"].count()
        self.send(text)
        expect(self[".assistant"]).to_have_count(before + 1)
        self.write(answer)
        self.end()

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the requests for answers."""
        bodies: list[dict[str, Any]] = self.page.evaluate("window.__asked")
        return bodies

    def bring(self, conversations: list[dict[str, Any]]) -> None:
        """Imports conversations."""
        told = {"format": "qrt-conversations", "version": 1, "conversations": conversations}
        body = json.dumps(told).encode()
        file = {"name": "chats.json", "mimeType": "application/json", "buffer": body}
        self["#import-file"].set_input_files(file)  # type: ignore[arg-type]
        expect(self[".notice"]).to_contain_text("added")


def chunk(delta: dict[str, Any]) -> dict[str, Any]:
    """A chunk of an answer."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def conversation(title: str, *texts: str, **of_message: Any) -> dict[str, Any]:
    """A conversation as a file of them has it: questions and answers in turns."""
    messages = [
        {
            "id": f"m{i}",
            "parent": f"m{i - 1}" if i else None,
            "role": ("user", "assistant")[i % 2],
            "text": text,
            "created": 1000 + i,
            **of_message,
        }
        for i, text in enumerate(texts)
    ]
    chat = {"title": title, "created": 1, "updated": 1, "leaf": f"m{len(texts) - 1}"}
    return {"chat": chat, "messages": messages}


@contextmanager
def chat(
    browser: Browser, base_url: str, *, written: bool = True, **context: Any
) -> Iterator[Chat]:
    """A page of its own, in a browser that knows nothing yet; answers are written by the test
    unless not `written`. What troubles it has are listed when it ends."""
    kept: BrowserContext = browser.new_context(
        **{"viewport": {"width": 1280, "height": 800}, "accept_downloads": True, **context}
    )
    page = kept.new_page()
    page.set_default_timeout(10_000)
    page.add_init_script(WATCH)
    if written:
        page.add_init_script(WRITTEN)
    shown = Chat(page, base_url)

    def on_request(request: Any) -> None:
        if not request.url.startswith((base_url, "blob:", "data:")):
            shown.troubles.append(f"asked {request.url}")

    def on_dialog(dialog: Any) -> None:
        shown.troubles.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.on("request", on_request)
    page.on("dialog", on_dialog)
    page.on("pageerror", lambda error: shown.troubles.append(f"raised {error}"))
    page.on(
        "console",
        lambda told: (
            shown.troubles.append(f"{told.type} {told.text}")
            if told.type in ("error", "warning")
            else None
        ),
    )
    yield shown
    shown.troubles += page.evaluate("window.__violations")
    kept.close()
