"""A server with a key, and what its model says to one question, for tests of clients."""

from __future__ import annotations

import pytest
from served import served

KEY = "sk-of-these-tests"
ASKED = [{"role": "user", "content": "What does os.path.join do?"}]


@pytest.fixture(scope="module")
def keyed_server():
    with served(api_keys=(KEY,)) as running:
        yield running


@pytest.fixture(scope="module")
def reply(keyed_server):
    """What the model says in this process."""
    return keyed_server.model.chat(ASKED)
