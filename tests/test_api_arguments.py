"""Arguments of `load` and `generate_many` that mean nothing, or are of the wrong kind."""

from __future__ import annotations

import pytest

import qrt


def test_no_progress_is_asked_for_by_none(data):
    with qrt.load(data / "arch" / "llama-dense.gguf", backend="reference", progress=None) as model:
        assert model.logits([1]).shape == (1, 128)


@pytest.mark.parametrize("progress", [3, "bar", ()])
def test_progress_is_called(progress, data):
    with pytest.raises(qrt.InputError, match="progress must be a function or None, got "):
        qrt.load(data / "arch" / "llama-dense.gguf", backend="reference", progress=progress)


@pytest.mark.parametrize("prompts", [None, "text", b"text", 7])
def test_many_prompts_are_a_list(prompts, data):
    with (
        qrt.load(data / "arch" / "llama-dense.gguf", backend="reference") as model,
        pytest.raises(qrt.InputError, match="prompts must be a list of prompts, got "),
    ):
        model.generate_many(prompts)
