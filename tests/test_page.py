"""The chat page in a real browser: every feature is used as a person would use it."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="needs playwright")

import browser as browsers
from browser import Chat, chat, conversation
from playwright.sync_api import Route, expect
from served import Served, served

from qrt.config import cache_dir, embedded_model
from qrt.server.many import ManyModels
from qrt.server.settings import settings_of

EMBEDDED = Path(str(embedded_model()))
KERNELS = str(cache_dir())

pytestmark = pytest.mark.skipif(browsers.CHROMIUM is None, reason="needs Debian's chromium")


def test_a_chat_with_the_model(page_browser: Any, page_server: Served) -> None:
    with chat(page_browser, page_server.base_url, written=False) as page:
        page.open()
        paint = page.page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        assert paint < 1000
        expect(page["#picker-name"]).to_have_text("pydoc")
        page.send("What does str.split do?")
        expect(page[".assistant .body"]).to_contain_text(re.compile(r"\w+ \w+"))
        expect(page.button("Copy answer")).to_be_visible()
        expect(page[".stats"]).to_contain_text("tokens/s")
        expect(page["#meter"]).to_contain_text("/ 512")
        answer = page[".assistant .body"].inner_text()
        expect(page[".chat-title"]).to_have_text("What does str.split do?")
        expect(page["#said"]).to_have_text(answer)
        page.open(page.page.url.removeprefix(page_server.base_url))
        expect(page[".assistant .body"]).to_have_text(answer)
        page.send("And what is os.path.join for?")
        expect(page[".stats"]).to_have_count(2)
        expect(page.button("Send")).to_be_disabled()
    assert not page.troubles


def test_an_answer_grows_and_is_stopped(page: Chat) -> None:
    page.send("Tell me")
    expect(page[".assistant.waiting"]).to_be_visible()
    page.write("The **first** block.\n\nThe sec")
    expect(page[".assistant .body > p"]).to_have_count(2)
    page.page.evaluate("document.querySelector('.assistant .body > p').isKept = true")
    for piece in ("ond. ", "It grows.\n\n", "- one\n", "- two\n\n", "The last"):
        page.write(piece)
    expect(page[".assistant .body"]).to_contain_text("The last")
    expect(page[".stats"]).to_contain_text("6 tokens")
    assert page.page.evaluate("document.querySelector('.assistant .body > p').isKept")
    expect(page[".assistant .body"]).to_have_attribute("class", "body")
    page["#box"].press("Escape")
    expect(page[".assistant .trouble"]).to_have_text("Stopped.")
    expect(page["#send"]).to_be_visible()
    expect(page[".assistant .body li"]).to_have_text(["one", "two"])


def test_versions_of_questions_and_answers(page: Chat) -> None:
    page.say("Question", "First answer")
    page.button("Regenerate").click()
    expect(page["#stop"]).to_be_visible()
    page.write("Second answer")
    page.end()
    expect(page[".switcher-at"]).to_have_text("2 / 2")
    page.say("More", "Third answer")
    page["[aria-label='Previous version']"].click()
    expect(page[".assistant .body"]).to_have_text(["First answer"])
    page["[aria-label='Next version']"].click()
    expect(page[".assistant .body"]).to_have_text(["Second answer", "Third answer"])
    page[".user"].first.hover()
    page[".user"].first.get_by_role("button", name="Edit").click()
    page.page.get_by_label("Edit message").fill("Question, again")
    page.page.get_by_label("Edit message").press("Enter")
    page.write("Fourth answer")
    page.end()
    expect(page[".user .body"]).to_have_text(["Question, again"])
    assert page.asked[-1]["messages"] == [{"role": "user", "content": "Question, again"}]
    page[".user"].hover()
    page[".user [aria-label='Previous version']"].click()
    expect(page[".body"]).to_have_text(["Question", "Second answer", "More", "Third answer"])
    page.page.reload()
    expect(page[".body"]).to_have_text(["Question", "Second answer", "More", "Third answer"])


def test_conversations_are_listed_found_renamed_and_deleted(page: Chat) -> None:
    for word in ("apples", "pears", "plums"):
        page.say(f"About {word}", f"They say {word} are round.")
        page["#new-chat"].click()
        expect(page[".assistant"]).to_have_count(0)
    titles = page[".chat-title"]
    expect(titles).to_have_text(["About plums", "About pears", "About apples"])
    page.page.keyboard.press("Control+k")
    page.page.keyboard.type("pears are")
    expect(titles).to_have_text(["About pears"])
    expect(page[".snippet mark"]).to_have_text("pears are")
    page.page.keyboard.press("Enter")
    expect(page[".assistant .body"]).to_have_text("They say pears are round.")
    page["#search"].fill("")
    expect(titles).to_have_count(3)
    page.button("More for About pears").click()
    page.page.get_by_role("menuitem", name="Rename").click()
    page.page.get_by_label("Title").fill("Pears, renamed")
    page.page.get_by_label("Title").press("Enter")
    expect(titles).to_have_text(["About plums", "Pears, renamed", "About apples"])
    page["[aria-label='More for Pears, renamed']"].click()
    page.page.get_by_role("menuitem", name="Delete").click()
    expect(titles).to_have_count(2)
    expect(page["#welcome"]).to_be_visible()
    page.button("Undo").click()
    expect(titles).to_have_count(3)


def test_conversations_go_out_and_in(page: Chat, page_browser: Any, page_server: Served) -> None:
    page.say("Keep *this*", "Kept.")
    page.button("Regenerate").click()
    page.write("Kept twice.")
    page.end()
    with page.page.expect_download() as saved:
        page["#export"].click()
    told = json.loads(saved.value.path().read_text())
    assert [len(one["messages"]) for one in told["conversations"]] == [3]
    with chat(page_browser, page_server.base_url) as other:
        other.open()
        other.bring(told["conversations"])
        other[".chat a"].click()
        expect(other[".body"]).to_have_text(["Keep *this*", "Kept twice."])
        expect(other[".switcher-at"]).to_have_text("2 / 2")
        for text, words in {"{": "is not JSON", '{"format": "x"}': "no conversations"}.items():
            file = {"name": "bad.json", "mimeType": "application/json", "buffer": text.encode()}
            other["#import-file"].set_input_files(file)
            expect(other[".notice"]).to_contain_text(words)
        broken = conversation("A", "one")
        broken["messages"][0]["text"] = 5
        told["conversations"] = [broken]
        file = {**file, "buffer": json.dumps(told).encode()}
        other["#import-file"].set_input_files(file)
        expect(other[".notice"]).to_contain_text("damaged")
        expect(other[".chat"]).to_have_count(1)
    assert not other.troubles


def test_settings_shape_the_request(page: Chat) -> None:
    page["#show-panel"].click()
    expect(page["#sampler-temperature"]).to_have_attribute("placeholder", re.compile(r"[\d.]+"))
    page["#system"].fill("Answer in rhyme.")
    page["#sampler-temperature"].fill("0.3")
    page["#sampler-top_k"].fill("-4")
    page["#sampler-seed"].fill("7")
    page["#think"].select_option("off")
    page["#schema"].fill('{"type": ')
    expect(page[".trouble-line"]).to_contain_text("not JSON yet")
    page["#schema"].fill('{"type": "object"}')
    expect(page[".trouble-line"]).to_be_hidden()
    page.say("Now", '{"a": [1,2]}')
    body = page.asked[-1]
    assert body["messages"][0] == {"role": "system", "content": "Answer in rhyme."}
    assert (body["temperature"], body["seed"], "top_k" in body) == (0.3, 7, False)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    expect(page[".assistant .code pre"]).to_have_text('{\n  "a": [\n    1,\n    2\n  ]\n}')
    page.page.reload()
    page["#show-panel"].click()
    expect(page["#sampler-seed"]).to_have_value("7")
    page["#new-chat"].click()
    expect(page["#system"]).to_have_value("")
    page.say("Plain", "Yes.")
    assert "response_format" not in page.asked[-1]


def test_thoughts_are_folded_and_calls_shown(page: Chat) -> None:
    page.send("Think")
    page.write({"reasoning_content": "Let me *see*."})
    expect(page[".thought summary"]).to_have_text("Thinking…")
    expect(page[".thought-body"]).to_be_hidden()
    page.write("Seen.")
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"at": '}}
    page.write(
        {"tool_calls": [call]}, {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}
    )
    page.end("tool_calls", timings={"predicted_n": 12, "predicted_per_second": 34.56})
    expect(page[".thought summary"]).to_have_text("Thought for 1 s")
    page[".thought summary"].click()
    expect(page[".thought-body em"]).to_have_text("see")
    expect(page[".calls"]).to_contain_text("Call of look")
    expect(page[".calls pre"]).to_have_text('{\n  "at": 1\n}')
    expect(page[".stats"]).to_contain_text("34.6 tokens/s · 12 tokens")


def test_code_is_coloured_and_copied(page: Chat) -> None:
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = 'def f(x: int) -> str:\n    return f"{x}"  # done'
    page.say("Code", f"```python\n{code}\n```")
    expect(page[".t-keyword"]).to_have_text(["def", "return"])
    expect(page[".t-comment"]).to_have_text("# done")
    page.button("Copy code").click()
    assert page.page.evaluate("navigator.clipboard.readText()") == code
    page.button("Copy answer").click()
    assert "```python" in page.page.evaluate("navigator.clipboard.readText()")


def test_a_key_is_asked_for(page_browser: Any, page_server: Served) -> None:
    with served(model=page_server.model, api_keys=("secret",)) as closed:
        with chat(page_browser, closed.base_url) as page:
            page.open()
            page["#key"].fill("wrong")
            page.button("Use key").click()
            expect(page["dialog"]).to_contain_text("not right")
            page["#key"].fill("secret")
            page.button("Use key").click()
            expect(page["#picker-name"]).to_have_text("pydoc")
            assert page.page.evaluate("sessionStorage.getItem('qrt.key')") == "secret"
            page.page.reload()
            expect(page["#picker-name"]).to_have_text("pydoc")
            expect(page["dialog"]).to_have_count(0)
        assert {trouble for trouble in page.troubles if "401" not in trouble} == set()


ERRORS = {
    "429": (429, {"message": "10 are waiting", "type": "rate_limit_error"}, "as many requests"),
    "500": (500, {"message": "its log says which", "type": "server_error"}, "could not do this"),
    "400": (400, {"message": "seed: Expected int", "code": None}, "refused this request"),
}


def test_errors_are_said_in_words_and_tried_again(page_browser: Any, page_server: Served) -> None:
    with chat(page_browser, page_server.base_url, written=False) as page:
        page.open()
        answers: list[Any] = []
        page.page.route("**/v1/chat/completions", lambda route: answers.pop(0)(route))
        for status, error, words in ERRORS.values():
            body = json.dumps({"error": error})
            answers.append(lambda route, s=status, b=body: route.fulfill(status=s, body=b))
            page.send("Hello") if not page[".user"].count() else page.button("Retry").click()
            expect(page[".error"]).to_contain_text(words)
            expect(page[".error .detail"]).to_have_text(error["message"])
        answers.append(lambda route: route.abort())
        page.button("Retry").click()
        expect(page[".error"]).to_contain_text("does not answer")
        cut = 'data: {"choices": [{"index": 0, "delta": {"content": "Half an"}}]}\n\n'
        answers.append(lambda route: route.fulfill(content_type="text/event-stream", body=cut))
        page.button("Retry").click()
        expect(page[".error"]).to_contain_text("broke off")
        expect(page[".assistant .body"]).to_have_text("Half an")
        answers.append(Route.continue_)
        page.button("Retry").click()
        expect(page[".stats"]).to_be_visible()
        expect(page[".switcher-at"]).to_have_text("2 / 2")


def test_the_oldest_messages_leave_a_full_context(page_browser: Any, page_server: Served) -> None:
    with chat(page_browser, page_server.base_url, written=False) as page:
        page.open()
        page.bring([conversation("Long", *[f"Word {'word ' * 60}{i}" for i in range(20)])])
        page[".chat a"].click()
        page.send("What does str.split do?")
        expect(page[".stats"].last).to_contain_text("tokens")
        expect(page[".assistant"].last).to_contain_text("no longer fit")
        expect(page[".error"]).to_have_count(0)


def test_models_are_switched(page: Chat) -> None:
    status = {"small": "loaded", "large": "unloaded"}

    def models(route: Route) -> None:
        vectors = {"id": "embed", "status": {"value": "loaded"}, "capabilities": ["embedding"]}
        data = [vectors] + [
            {"id": id, "size": 2_500_000_000, "status": {"value": value}}
            for id, value in status.items()
        ]
        route.fulfill(json={"data": data})

    def load(route: Route) -> None:
        status["large"] = "loaded"
        told = {
            "status": {"value": "loading", "progress": {"what": "packing", "done": 1, "total": 4}}
        }
        time.sleep(0.2)
        route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(told)}\n\n")

    page.page.route("**/models", models)
    page.page.route("**/models/load", load)
    page.page.route(
        "**/models/unload", lambda route: (status.update(large="unloaded"), route.fulfill(json={}))
    )
    page.page.reload()
    expect(page["#picker-name"]).to_have_text("small")
    page["#picker"].click()
    expect(page["#models .facts"]).to_have_text(["2.5 GB · loaded", "2.5 GB"])
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("ArrowDown")
    page["[data-model=large]"].click()
    expect(page["#loading"]).to_contain_text("Loading large")
    expect(page["#loading"]).to_be_hidden()
    expect(page["#picker-name"]).to_have_text("large")
    page.say("Hello", "Hi.")
    assert page.asked[-1]["model"] == "large"
    expect(page[".stats"]).to_contain_text("large")
    page["#picker"].click()
    page.button("Unload large").click()
    expect(page["#models .facts"]).to_have_text(["2.5 GB · loaded", "2.5 GB"])


def dropped(page: Chat, name: str, body: str) -> None:
    """Drops a file on the page."""
    page.page.evaluate(
        """([name, body]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([body], name));
          const drag = { dataTransfer, bubbles: true, cancelable: true };
          for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(type, drag));
        }""",
        [name, body],
    )


def test_files_go_along_and_models_are_uploaded(page: Chat) -> None:
    dropped(page, "notes.txt", "one ``` two")
    expect(page[".chip-name"]).to_have_text("notes.txt")
    page["#files"].set_input_files({"name": "b.bin", "mimeType": "", "buffer": b"\xff\x00"})
    expect(page[".notice"]).to_contain_text("b.bin is not a text file.")
    page.say("Sum it up", "Two numbers.")
    assert page.asked[-1]["messages"][0]["content"] == (
        "notes.txt\n````\none ``` two\n````\n\nSum it up"
    )
    expect(page[".attachment"]).to_have_text("notes.txtone ``` two")
    uploads: list[tuple[str, bytes | None]] = []

    def upload(route: Route) -> None:
        uploads.append((route.request.url, route.request.post_data_buffer))
        route.fulfill(status=201, json={"id": "pydoc", "size": 4})

    page.page.route("**/models/upload*", upload)
    dropped(page, "my model.gguf", "GGUF")
    expect(page["#loading"]).to_be_hidden()
    assert [url.partition("/models/")[2] for url, _ in uploads] == ["upload?name=my%20model.gguf"]


def test_a_dropped_model_is_there_and_answers(
    page_browser: Any,
    hub_cache: Any,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QRT_CACHE_DIR", KERNELS)
    with (
        served(models=ManyModels(settings_of({}))) as many,
        chat(page_browser, many.base_url, written=False) as page,
    ):
        page.open()
        expect(page["#picker-name"]).to_have_text("pydoc")
        handle = page.page.evaluate_handle("new DataTransfer()")
        encoded = base64.b64encode(EMBEDDED.read_bytes()).decode()
        page.page.evaluate(
            """([transfer, encoded]) => {
              const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
              transfer.items.add(new File([bytes], "mine.gguf"));
            }""",
            [handle, encoded],
        )
        page["body"].dispatch_event("drop", {"dataTransfer": handle})
        expect(page["#picker-name"]).to_have_text("local:mine.gguf")
        page.send("What does str.split do?")
        expect(page[".stats"]).to_contain_text("local:mine.gguf", timeout=20_000)
        expect(page["#meter"]).to_contain_text("/ 512")
        dropped(page, "bad.gguf", "no model")
        expect(page[".notice"]).to_contain_text("refused")
    assert all("status of 4" in trouble for trouble in page.troubles)
