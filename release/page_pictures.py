"""Takes pictures of the chat page, light, dark and on a phone: `python release/page_pictures.py`.

Debian's Chromium shows `qrt app` as it is; what the model answers is written here. Letters are in
the fonts of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "images"
ARGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
SEEN: dict[str, dict[str, Any]] = {
    "page-light": {"viewport": {"width": 1180, "height": 840}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1180, "height": 840}, "color_scheme": "dark"},
    "page-phone": {
        "viewport": {"width": 360, "height": 720},
        "device_scale_factor": 1.5,
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "light",
    },
}
MODEL = "qwen3:4b"
OLDER = (
    "A walk along the coast, in three days",
    "Rename files by the date in their name",
    "Why is the sky dark at night?",
    "A kind letter to the neighbours",
)
QUESTION = "What is a generator in Python, and when is it better than a list?"
THOUGHT = "They know lists. An example first, then when each is the better choice."
ANSWER = '''\
A generator hands out values **one at a time** and remembers where it stopped. Nothing is computed \
before somebody asks:

```python
def windows(values: list[float], size: int = 3) -> Iterator[list[float]]:
    """Every run of `size` neighbours."""
    for start in range(len(values) - size + 1):
        yield values[start : start + size]  # made when it is asked for

means = [sum(run) / len(run) for run in windows([1, 2, 4, 8, 16])]
```

| | List | Generator |
|---|---|---|
| In memory | all values | one value |
| Can be read again | yes | no |

Choose a generator for what is *long*, *endless*, or left early.
'''


def events(thought: str, answer: str) -> str:
    """An answer as the server streams it."""
    deltas = [{"reasoning_content": thought}, {"content": answer}]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append(
        {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {"completion_tokens": 214, "total_tokens": 1289},
            "timings": {"predicted_n": 214, "predicted_per_second": 17.3},
        }
    )
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def prepare(page: Page) -> None:
    """Gives the page a model and what it says."""
    models = {"data": [{"id": MODEL, "size": 2_497_000_000, "status": {"value": "loaded"}}]}
    params = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0, "repeat_penalty": 1}
    props = {"default_generation_settings": {"n_ctx": 8192, "params": params}}

    def answer(route: Route) -> None:
        stream = events(THOUGHT, ANSWER)
        route.fulfill(content_type="text/event-stream", body=stream)

    page.route("**/models", lambda route: route.fulfill(json=models))
    page.route("**/props*", lambda route: route.fulfill(json=props))
    page.route("**/tokenize", lambda route: route.fulfill(json={"tokens": []}))
    page.route("**/v1/chat/completions", answer)


def say(page: Page, text: str) -> None:
    """Says something and waits for the end of the answer."""
    page.fill("#box", text)
    page.keyboard.press("Enter")
    expect(page.locator(".stats").last).to_contain_text("tokens")


def take(browser: Browser, address: str, name: str, how: dict[str, Any]) -> None:
    """Takes one picture."""
    context = browser.new_context(**how)
    page = context.new_page()
    prepare(page)
    page.goto(address)
    expect(page.locator("#picker-name")).to_have_text(MODEL)
    for title in OLDER:
        say(page, title)
        page.keyboard.press("Control+Shift+O")
    say(page, QUESTION)
    page.mouse.move(0, 0)
    if name == "page-dark":
        page.click("#show-panel")
        page.locator("#system").fill("Short answers, with an example.")
        page.locator("#sampler-temperature").fill("0.3")
        page.locator("#sampler-temperature").blur()
        page.locator(".code").scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    page.screenshot(path=PICTURES / f"{name}.png")
    context.close()


def main() -> None:
    """Takes all pictures."""
    chromium = shutil.which("chromium")
    assert chromium, "needs Debian's chromium"
    command = [sys.executable, "-m", "qrt", "app", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout
        address = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGS))
            for name, how in SEEN.items():
                take(browser, address, name, how)
            browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
