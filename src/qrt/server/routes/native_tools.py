"""llama-server's routes beside generating: tokens, templates, what is loaded and what runs."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from starlette.responses import Response

from qrt.replies import template_vars, with_tools
from qrt.server.errors import NATIVE
from qrt.server.fields import AdapterScale, by_name
from qrt.server.messages import tidied
from qrt.server.openai import FINGERPRINT
from qrt.server.routes.native_bodies import (
    ApplyTemplate,
    Detokenize,
    Sampled,
    Tokenize,
    token_ids,
)
from qrt.server.routes.native_results import settings
from qrt.server.routing import Request, Route
from qrt.server.stream import json_response


async def tokenize(request: Request[Tokenize]) -> Response:
    """The tokens of a text."""
    body = request.body
    tokenizer = (await request.acquire(body.model)).model.tokenizer
    parts = body.content if isinstance(body.content, list) else [body.content]
    how = {"add_special": body.add_special, "parse_special": body.parse_special}
    ids = await asyncio.to_thread(token_ids, parts, tokenizer, **how)
    if not body.with_pieces:
        return json_response({"tokens": ids})
    pieces = [{"id": token, "piece": _piece(tokenizer.token_bytes(token))} for token in ids]
    return json_response({"tokens": pieces})


async def detokenize(request: Request[Detokenize]) -> Response:
    """The text of tokens."""
    model = (await request.acquire(request.body.model)).model
    text = await asyncio.to_thread(model.detokenize, request.body.tokens, special=True)
    return json_response({"content": text})


async def apply_template(request: Request[ApplyTemplate]) -> Response:
    """The prompt that a chat becomes."""
    body = request.body
    served = await request.acquire(body.model)
    source = served.model.chat_template.source
    variables = {
        **served.template_vars,
        **template_vars(source, reasoning_effort=body.reasoning_effort),
        **(body.chat_template_kwargs or {}),
    }
    messages, offering = with_tools(source, tidied(body.messages), body.tools or [])
    spans = await asyncio.to_thread(
        served.model.chat_template.render,
        messages,
        {**variables, **offering},
        add_generation_prompt=body.add_generation_prompt,
        continued=body.continue_final_message,
    )
    return json_response({"prompt": "".join(text for text, _ in spans)})


async def props(request: Request[Any]) -> Response:
    """What is loaded, and how it answers where a request says nothing; ?model=NAME."""
    served = await request.acquire(request.query.get("model"))
    model = served.model
    tokenizer = model.tokenizer
    marks = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
    spelled = {
        name: "" if token is None else tokenizer.piece(token) for name, token in marks.items()
    }
    defaults = {
        "n_ctx": model.info.n_ctx,
        "params": settings(served, served.options, Sampled()),
    }
    return json_response(
        {
            "default_generation_settings": defaults,
            "total_slots": model.max_running,
            "model_alias": served.name,
            "model_path": os.path.basename(model.info.path),
            "chat_template": model.chat_template.source,
            "modalities": {"vision": False, "audio": False},
            **spelled,
            "build_info": FINGERPRINT,
            "is_sleeping": False,
        }
    )


async def adapters(request: Request[Any]) -> Response:
    """The low-rank adapters, and how much of each is used where a request says nothing."""
    model = (await request.acquire(request.query.get("model"))).model
    return json_response(
        [
            {
                "id": number,
                "path": os.path.basename(one.path),
                "scale": one.scale,
                "task_name": one.task_name,
                "prompt_prefix": one.prompt_prefix,
            }
            for number, one in enumerate(model.adapters)
        ]
    )


async def use_adapters(request: Request[list[AdapterScale]]) -> Response:
    """Sets that for all; what is not named is not used."""
    model = (await request.acquire(request.query.get("model"))).model
    model.use_adapters(by_name(request.body, model.adapters))
    return json_response({"success": True})


def _piece(spelled: bytes) -> str | list[int]:
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return list(spelled)


_GET, _POST = ("GET",), ("POST",)
ROUTES = (
    Route(_POST, "/tokenize", tokenize, Tokenize, NATIVE, summary="The tokens of a text"),
    Route(_POST, "/detokenize", detokenize, Detokenize, NATIVE, summary="The text of tokens"),
    Route(
        *(_POST, "/apply-template", apply_template, ApplyTemplate, NATIVE),
        summary="The prompt that a chat becomes",
    ),
    Route(_GET, "/props", props, shape=NATIVE, summary="What is loaded"),
    Route(_GET, "/lora-adapters", adapters, shape=NATIVE, summary="The adapters"),
    Route(
        *(_POST, "/lora-adapters", use_adapters, list[AdapterScale], NATIVE),
        summary="How much of each adapter is used",
    ),
)
