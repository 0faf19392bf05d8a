"""Fixtures that every test may use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of oracles: tests/data."""
    return Path(__file__).parent / "data"
