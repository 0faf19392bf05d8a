"""The process in which one chat template runs, under limits that it cannot get round.

The system bounds its memory and ends it when a render takes too long, even in the middle of an
operation of C. Messages come by standard input and prompts go by standard output; it ends when
the input does.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from qrt.errors import TemplateError
from qrt.text.chat_budget import Budget
from qrt.text.chat_forms import render_some_way
from qrt.text.chat_frames import read_frame, write_frame
from qrt.text.chat_limits import Limits
from qrt.text.chat_origin import own, runs
from qrt.text.chat_sandbox import CompiledTemplate
from qrt.text.messages import Message


def main() -> None:
    """Answers requests until the input ends; the first frame is the template and its limits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        setup = read_frame(requests)
        limits = Limits(**setup["limits"])
        _bound_memory(limits.process_bytes)
        template: CompiledTemplate | None = None
        while True:
            request = read_frame(requests)
            faulthandler.dump_traceback_later(limits.seconds + limits.grace_seconds, exit=True)
            try:
                budget = Budget(limits)
                template = template or CompiledTemplate(setup["source"], limits)
                answer = _answer(template, request, budget)
            except TemplateError as error:
                answer = {"error": str(error)}
            except MemoryError:
                answer = {"error": "the chat template needs too much memory"}
            faulthandler.cancel_dump_traceback_later()
            write_frame(answers, answer)


def _answer(
    template: CompiledTemplate, request: Mapping[str, Any], budget: Budget
) -> dict[str, object]:
    constants = {name: own(text) for name, text in request["constants"].items()}
    render = partial(_render, template, {**request["variables"], **constants}, budget)
    text = render_some_way(render, request["messages"])
    return {"text": text, "runs": runs(text)}


def _render(
    template: CompiledTemplate,
    variables: Mapping[str, object],
    budget: Budget,
    messages: list[Message],
) -> str:
    named = [{**message, "role": own(str(message["role"]))} for message in messages]
    return template.render({**variables, "messages": named}, budget)


def _bound_memory(n_bytes: int) -> None:
    """Bounds the address space, where the system can; no files are written, cores included."""
    try:
        import resource
    except ImportError:
        return
    bounds = {"RLIMIT_AS": n_bytes, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0}
    for name, bound in bounds.items():
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (bound, bound))
