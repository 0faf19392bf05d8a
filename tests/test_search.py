"""The embedding model inside the package: found by its name, and good enough to search with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bm25 import BM25
from hub_server import invoke
from retrieval import AT, BAR, DEPTHS, passages, questions, recalls

import qrt
from qrt.config import embedded_model
from qrt.formats.gguf import open_gguf
from qrt.hub.locate import is_known, locate

MAX_BYTES = 6_000_000
FILE = Path(str(embedded_model("embed")))


def test_the_file_is_small_and_says_whose_text_it_learned_from() -> None:
    with open_gguf(FILE) as file:
        assert FILE.stat().st_size <= MAX_BYTES
        assert file.metadata["general.license"] == "PSF-2.0"
        assert f"{FILE.name}" in FILE.with_name("LICENSE.PSF").read_text()


@pytest.mark.parametrize("name", ["embed", "pydoc", "Embed"])
def test_models_inside_the_package_are_found_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = Path(str(embedded_model(name.lower())))
    assert (is_known(name), locate(name)) == (True, inside)
    assert str(inside) in "".join(invoke("info", name).stdout.split())


def test_questions_are_answered() -> None:
    """All questions, on the passages that answer one and every sixth of the others."""
    every = passages()
    asked = questions({one.name for one in every})
    answers = list(asked.values())
    wanted = set().union(*answers)
    found = [one for i, one in enumerate(every) if one.name in wanted or i % 6 == 0]
    names = [one.name for one in found]
    with qrt.load("embed") as model:
        vectors = model.embed([one.text for one in found], truncate=True)
        by_meaning = recalls(model.embed(list(asked)) @ vectors.T, names, answers)
    bm25 = BM25([one.text for one in found])
    by_words = recalls(np.array([bm25.scores(question) for question in asked]), names, answers)
    assert len(asked) >= 480
    assert by_meaning[AT] >= BAR
    assert all(by_meaning[depth] > by_words[depth] for depth in DEPTHS)
