"""Asks a server by LangChain, LiteLLM and instructor, and prints what each was told, as JSON.

others.py BASE_URL KEY QUESTION
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is asked of other servers

import instructor
import litellm
import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

BASE_URL, KEY, QUESTION = sys.argv[1:]
ASKED: list[Any] = [{"role": "user", "content": QUESTION}]


class Verdict(BaseModel):
    """What is wanted of the model."""

    kind: Literal["function", "class", "module"]
    stars: Literal[1, 2, 3]


@tool
def look_up(kind: Literal["function", "class"]) -> str:
    """Looks something up."""
    return kind


def langchain() -> dict[str, Any]:
    """ChatOpenAI: answers, streams, tools, structured output, and errors."""
    chat = ChatOpenAI(model="pydoc", base_url=f"{BASE_URL}/v1", api_key=KEY, max_retries=0)
    whole = chat.invoke(ASKED)
    parts = list(chat.stream(ASKED, stream_usage=True))
    usage = [part.usage_metadata for part in parts if part.usage_metadata]
    structured = chat.with_structured_output(Verdict, method="json_schema").invoke(ASKED)
    once = chat.bind_tools([look_up], tool_choice="any", parallel_tool_calls=False)
    called = once.invoke(ASKED)
    return {
        "whole": whole.content,
        "stream": "".join(part.content for part in parts),
        "n_tokens": usage[-1]["output_tokens"],
        "structured": structured.model_dump(),
        "calls": [[call["name"], call["args"]] for call in called.tool_calls],
        "error": _error(lambda: chat.bind(temperature=1e9).invoke(ASKED)),
    }


def by_litellm() -> dict[str, Any]:
    """litellm.completion by three of its providers."""
    own = {"model": "openai/pydoc", "api_base": f"{BASE_URL}/v1", "api_key": KEY}
    others = [
        {"model": "anthropic/pydoc", "api_base": BASE_URL, "api_key": KEY},
        {"model": "ollama_chat/pydoc", "api_base": BASE_URL, "api_key": KEY},
    ]
    whole = litellm.completion(messages=ASKED, **own)
    parts = list(litellm.completion(messages=ASKED, stream=True, **own))
    return {
        "whole": whole.choices[0].message.content,
        "stream": "".join(part.choices[0].delta.content or "" for part in parts),
        "n_tokens": whole.usage.completion_tokens,
        "by_others": [_said(litellm.completion(messages=ASKED, **other)) for other in others],
        "structured": json.loads(
            _said(litellm.completion(messages=ASKED, response_format=Verdict, **own))
        ),
        "error": _error(lambda: litellm.completion(messages=ASKED, **own | {"api_key": "other"})),
    }


def by_instructor() -> dict[str, Any]:
    """instructor by tools and by JSON schema."""
    found = {}
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY)
        verdict = instructor.from_openai(client, mode=mode).chat.completions.create(
            model="pydoc", messages=ASKED, response_model=Verdict, max_retries=0
        )
        found[mode.name] = verdict.model_dump()
    return found


def _said(done: Any) -> str:
    return done.choices[0].message.content


def _error(call: Callable[[], object]) -> str | None:
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


def _told(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except Exception as error:
        return {"failed": repr(error)}


print(json.dumps({ask.__name__: _told(ask) for ask in (langchain, by_litellm, by_instructor)}))
