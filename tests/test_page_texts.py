"""What the page makes of texts from outside: Markdown, drawn as it grows, never code that runs."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("playwright", reason="needs playwright")

import browser as browsers
from browser import Chat, conversation
from markdown_cases import MARKDOWN
from playwright.sync_api import expect
from xss import STRINGS

pytestmark = pytest.mark.skipif(browsers.CHROMIUM is None, reason="needs Debian's chromium")


def harmless(page: Chat) -> None:
    """Nothing ran, nothing was refused, and nothing stands in the page that could run."""
    assert page.page.evaluate("[window.__x ?? null, window.__violations]") == [None, []]
    suspect = page.page.evaluate(
        """[...document.querySelectorAll("body *")].filter((node) =>
          ["SCRIPT", "IFRAME", "IMG", "OBJECT", "EMBED", "BASE", "LINK", "META", "STYLE", "FORM"]
            .includes(node.nodeName) && !node.closest("#composer") ||
          [...node.attributes].some(({ name }) => /^on|style|srcdoc|formaction/.test(name)
            && !["message", "ring-used", "menu"].some((kind) => node.classList.contains(kind))
            && node.id !== "box") ||
          node.nodeName === "A" && !/^(https?:|mailto:|#)/.test(node.getAttribute("href")))
          .map((node) => node.outerHTML)"""
    )
    assert suspect == []
    assert page.troubles == []


def test_two_hundred_texts_stay_texts(page: Chat) -> None:
    assert len(set(STRINGS)) == 200
    turns = [text for string in STRINGS for text in (string, string)]
    whole = conversation("Every one of them", *turns)
    for message in whole["messages"]:
        string = message["text"]
        message |= {"thought": string, "model": string, "finish": string}
        message["attachments"] = [{"name": string, "text": string}]
    page.bring([*(conversation(string, string, string) for string in STRINGS), whole])
    expect(page[".chat"]).to_have_count(201)
    page["#search"].fill("onerror")
    expect(page[".snippet"].first).to_be_visible()
    harmless(page)
    page["#search"].fill("Every one")
    expect(page[".chat"]).to_have_count(1)
    page[".chat a"].click()
    expect(page[".message"]).to_have_count(400)
    page.page.evaluate(
        """async () => {
          const all = document.querySelectorAll(".message");
          for (let i = 0; i < 406; i += 6) {
            all[Math.min(i, 399)].scrollIntoView();
            await new Promise(requestAnimationFrame);
          }
        }"""
    )
    expect(page[".message .foot"]).to_have_count(400)
    harmless(page)


def test_texts_that_come_as_answers_names_and_errors_stay_texts(page: Chat) -> None:
    every = "\n\n".join(STRINGS)
    page.send(every)
    page.write({"reasoning_content": every})
    page.write(*(every[i : i + 700] for i in range(0, len(every), 700)))
    page.write({"tool_calls": [{"index": 0, "function": {"name": every, "arguments": every}}]})
    page.end()
    assert page[".calls pre"].inner_text() == every
    models = [{"id": string, "status": {"value": string}} for string in STRINGS]
    page.page.route("**/models", lambda route: route.fulfill(json={"data": models}))
    page["#picker"].click()
    expect(page[".model-name"]).to_have_count(200)
    harmless(page)


def test_markdown(page: Chat) -> None:
    drawn = page.page.evaluate(
        """async (texts) => {
          const main = document.querySelector("script[type=module]").src;
          const { Markdown } = await import(main.replace("main.js", "markdown/render.js"));
          return texts.map((text) => {
            const [whole, grown] = [document.createElement("div"), document.createElement("div")];
            new Markdown(whole).show(text);
            const growing = new Markdown(grown);
            for (let i = 1; i <= text.length; i++) growing.show(text.slice(0, i));
            return [whole.innerHTML, whole.isEqualNode(grown) ? "" : grown.innerHTML];
          });
        }""",
        list(MARKDOWN),
    )
    plain = re.compile(r' (?:target="_blank"|rel="noopener noreferrer"|title="[^"]*")')
    assert [plain.sub("", whole) for whole, _ in drawn] == list(MARKDOWN.values())
    assert [grown for _, grown in drawn] == [""] * len(drawn)
