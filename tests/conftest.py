"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asked import keyed_server, reply  # noqa: F401
from hub_server import hub, hub_cache  # noqa: F401
from hypothesis import settings
from kernels import BEST, LOOKUPS, RUNNABLE, TIER_KERNELS, Lab
from letters import loaded, make, model  # noqa: F401
from oracles import data_folder
from sidecars import kept, model_file, packed  # noqa: F401

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of oracles: arch, quant and vocab."""
    return data_folder()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """All kernels of the best tier."""
    with_all = Lab(BEST)
    yield with_all
    with_all.close()


@pytest.fixture(scope="session", params=RUNNABLE)
def any_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The dot products of each tier that this machine can run."""
    one = Lab(request.param)
    yield one
    one.close()


@pytest.fixture(scope="session", params=[t for t in RUNNABLE if LOOKUPS[0] in TIER_KERNELS[t]])
def lookup_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lookups of the tiers that have their own."""
    one = Lab(request.param)
    yield one
    one.close()


@pytest.fixture(scope="session", params=[t for t in RUNNABLE if "glu.silu" in TIER_KERNELS[t]])
def main_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A kernel for every instruction, of the tiers that have their own."""
    one = Lab(request.param)
    yield one
    one.close()


@pytest.fixture(scope="module")
def page_server() -> Iterator[Any]:
    """A server of the embedded model, with the chat page."""
    from served import served

    with served() as running:
        yield running


@pytest.fixture(scope="module")
def page_browser() -> Iterator[Any]:
    """Chromium."""
    from browser import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def page(page_browser: Any, page_server: Any) -> Iterator[Any]:
    """The chat page, whose answers the test writes; nothing may trouble the browser."""
    from browser import chat

    with chat(page_browser, page_server.base_url) as shown:
        shown.open()
        yield shown
    assert not shown.troubles
