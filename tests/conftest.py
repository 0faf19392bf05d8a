"""Fixtures that every test may use."""

from pathlib import Path

import pytest
from oracles import data_folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of oracles: arch, quant and vocab."""
    return data_folder()
