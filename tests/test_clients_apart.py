"""Clients that want other versions than qrt, in an environment of their own, against a server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from asked import ASKED, KEY


@pytest.fixture(scope="module")
def others(keyed_server):
    """What clients that want other versions than qrt were told, in an environment of their own."""
    python = os.environ.get("QRT_CLIENTS_PYTHON")
    if not python:
        pytest.skip("QRT_CLIENTS_PYTHON names no Python with tests/clients/requirements.txt")
    script = Path(__file__).parent / "clients" / "others.py"
    done = subprocess.run(
        [python, script, keyed_server.base_url, KEY, ASKED[0]["content"]],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_langchain(others, reply):
    told = others["langchain"]
    assert [told.get("whole"), told.get("stream")] == [reply.text] * 2, told
    assert told["n_tokens"] == len(reply.tokens)
    assert is_verdict(told["structured"])
    assert [name for name, _ in told["calls"]] == ["look_up"]
    assert told["error"] == "OpenAIInvalidRequestError"


def test_litellm(others, reply):
    told = others["by_litellm"]
    assert [told.get("whole"), told.get("stream")] == [reply.text] * 2, told
    assert told["by_others"] == [reply.text] * 2
    assert told["n_tokens"] == len(reply.tokens)
    assert is_verdict(told["structured"])
    assert told["error"] == "AuthenticationError"


def test_instructor(others):
    told = others["by_instructor"]
    assert is_verdict(told.get("TOOLS")), told
    assert is_verdict(told["JSON_SCHEMA"])


def is_verdict(told):
    kinds, stars = ("function", "class", "module"), (1, 2, 3)
    return told is not None and (told["kind"] in kinds) and told["stars"] in stars
