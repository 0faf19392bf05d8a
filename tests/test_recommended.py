"""The sampling that a file recommends: what of it holds, and where."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import qrt
from qrt.cli.flags import KvFlags
from qrt.cli.info import info
from qrt.cli.loading import recommended_line
from qrt.errors import QrtError
from qrt.formats.writer import write_gguf
from qrt.runtime.options import options_from
from qrt.runtime.sampler import Sampler, SamplingParams, recommended_sampling
from qrt.runtime.sampler.params import STEPS
from qrt.tools.describe import describe

ALL = {
    "temp": 0.6,
    "top_k": 20,
    "top_p": 0.95,
    "min_p": 0,
    "xtc_probability": 0.1,
    "xtc_threshold": 0.2,
    "penalty_last_n": -1,
    "penalty_repeat": 1.1,
    "mirostat": 2,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.2,
    "sequence": "penalties;Top-K;typ;nucleus;temp",
}


def recommended(values: Mapping[str, object]) -> dict[str, object]:
    metadata = {f"general.sampling.{key}": value for key, value in values.items()}
    return recommended_sampling(metadata, "file.gguf")


def test_every_key_becomes_the_option_of_its_name() -> None:
    found = recommended({**ALL, "temp": float(np.float32(0.6))})
    assert found == {
        "temperature": 0.6,
        "top_k": 20,
        "top_p": 0.95,
        "min_p": 0.0,
        "xtc_probability": 0.1,
        "xtc_threshold": 0.2,
        "repeat_last_n": -1,
        "repeat_penalty": 1.1,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "samplers": ("penalties", "top_k", "typ_p", "top_p", "temperature"),
    }
    assert recommended({}) == {}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("temp", math.nan, "temperature must be between -100 and 100, got nan"),
        ("temp", "0.6", "temperature must be a number"),
        ("top_k", -2, "top_k must be between -1"),
        ("top_k", 2**40, "top_k must be between -1"),
        ("top_k", [1], "top_k must be an integer"),
        ("top_p", 7.0, "top_p must be between 0 and 1"),
        ("mirostat", 3, "mirostat must be between 0 and 2"),
        ("penalty_repeat", 0.0, "repeat_penalty must be between"),
        ("sequence", 5, "it is 5"),
        ("sequence", "top_k;" * 1000, "it is 'top_k;"),
        ("sequence", "infill", "lacks, left out: ['infill']"),
    ],
)
def test_what_cannot_be_used_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture, key: str, value: object, message: str
) -> None:
    with caplog.at_level(logging.WARNING, "qrt"):
        assert recommended({key: value, "min_p": 0.25}) == {"min_p": 0.25}
    (warning,) = caplog.messages
    assert warning.startswith(f"file.gguf: general.sampling.{key} ")
    assert message in warning
    assert "\n" not in warning
    assert len(warning) < 300


@pytest.mark.parametrize(
    ("given", "files", "expected"),
    [
        ({}, {"temperature": 0.6, "top_k": 20}, {"temperature": 0.6, "top_k": 20}),
        ({"top_k": 40}, {"temperature": 0.6, "top_k": 20}, {"temperature": 0.6, "top_k": 40}),
        ({"temperature": 0}, {"samplers": ("top_k",)}, {"temperature": 0.0}),
        ({"top_k": 4}, {"samplers": ("top_k",)}, {"top_k": 4, "samplers": ("top_k",)}),
        ({"samplers": ("xtc",)}, {"samplers": ("top_k",)}, {"samplers": ("xtc",)}),
        ({"min_p": 0.1}, {"mirostat": 2, "mirostat_tau": 3.0}, {"min_p": 0.1, "mirostat_tau": 3.0}),
        ({"temperature": 1, "max_tokens": 3}, {"mirostat": 2}, {"temperature": 1.0, "mirostat": 2}),
        ({"mirostat": 1, "top_k": 3}, {"mirostat": 2}, {"mirostat": 1, "top_k": 3}),
        ({"top_p": 0.5}, {"temperature": 0.0}, {"top_p": 0.5}),
        ({"mirostat": 2}, {"temperature": 0.0}, {"mirostat": 2}),
        (
            {"seed": 3, "repeat_penalty": 1.1},
            {"temperature": 0.0},
            {"temperature": 0.0, "repeat_penalty": 1.1},
        ),
    ],
)
def test_what_is_asked_for_always_holds(
    given: Mapping[str, object], files: Mapping[str, object], expected: Mapping[str, object]
) -> None:
    options = options_from(given, files)  # type: ignore[arg-type]
    assert options.sampling == SamplingParams(**expected)  # type: ignore[arg-type]


LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def drawn(history: tuple[int, ...] = (), **params: object) -> set[int]:
    """The tokens that are ever drawn."""
    sampler = Sampler(SamplingParams(**params), 4, seed=1)  # type: ignore[arg-type]
    return {sampler.sample(LOGITS, position, history)[0] for position in range(300)}


def test_steps_run_in_the_order_asked_for() -> None:
    hot = {"temperature": 3.0, "top_p": 0.7}
    assert drawn(samplers=("top_p", "temperature"), **hot) == {0, 1}
    assert drawn(samplers=("temperature", "top_p"), **hot) == {0, 1, 2}
    assert drawn(samplers=("top_k",), temperature=0, top_k=3) == {0, 1, 2}
    assert drawn(samplers=()) == {0, 1, 2, 3}
    pushed = {"presence_penalty": 50.0, "top_k": 2, "history": (0,)}
    assert drawn(samplers=("penalties", "top_k"), **pushed) == {1, 2}
    assert drawn(samplers=("top_k", "penalties"), **pushed) == {1}
    cold = {**pushed, "temperature": 0}
    assert drawn(samplers=("top_k", "temperature", "penalties"), **cold) == {0}
    assert drawn(samplers=STEPS, **cold) == {1}


FILE = {"general.sampling.temp": 5.0, "general.sampling.top_k": 7}
OPTIONS = {"temperature": 5.0, "top_k": 7}


def test_a_model_samples_as_its_file_recommends(make, loaded) -> None:
    plain, file = make(), copy.copy(loaded.file)
    file.metadata = {**file.metadata, **FILE}
    model = make(file=file)
    assert model.info.sampling == OPTIONS
    limits = {"max_tokens": 12, "ignore_eos": True}
    messages = [{"role": "user", "content": "ab"}]
    with plain.session() as of_plain, model.session() as of_model:
        for name, prompt in (("generate", [1, 2]), ("chat", messages)):
            usual, same = getattr(of_plain, name), getattr(of_model, name)
            expected = usual(prompt, **OPTIONS, **limits).tokens
            assert same(prompt, **limits).tokens == expected
            assert usual(prompt, **limits).tokens != expected
            greedy = usual(prompt, temperature=0, **limits).tokens
            assert same(prompt, temperature=0, **limits).tokens == greedy
    (many,) = model.generate_many([[1, 2]], **limits)
    assert many.tokens == plain.generate([1, 2], **OPTIONS, **limits).tokens
    assert recommended_line(model, limits) == "temperature 5.0, top_k 7"
    assert recommended_line(model, {"top_k": 3}) == "temperature 5.0"
    assert recommended_line(plain, limits) == ""


def test_info_shows_what_is_recommended(tmp_path: Path, capsys) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, {"general.architecture": "none", **FILE})
    with pytest.raises(QrtError):
        info(KvFlags(), str(path))
    shown = capsys.readouterr().out
    assert "Recommended sampling" in shown
    assert "temperature" in shown.partition("Recommended sampling")[2]
    assert describe(path).sampling == OPTIONS


def test_the_embedded_model_takes_the_likeliest_token() -> None:
    prompt, limits = "What does os.getcwd do?", {"max_tokens": 8, "seed": 3}
    with qrt.load() as model:
        assert model.info.sampling == {"temperature": 0.0}
        surest = model.generate(prompt, temperature=0, **limits).tokens
        assert model.generate(prompt, **limits).tokens == surest
        drawn = [model.generate(prompt, top_p=1.0, max_tokens=8, seed=i).tokens for i in range(8)]
        assert len(set(drawn)) > 1
        assert recommended_line(model, {}) == "temperature 0.0"
        assert recommended_line(model, {"temperature": 1}) == ""
