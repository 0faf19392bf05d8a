"""Models that share the reference backend's weights, over a vocabulary of a letter a token."""

from __future__ import annotations

import copy
import dataclasses
import threading
from concurrent.futures import Future

import pytest
from fakes import FakeTokenizer

from qrt.api.core import Core
from qrt.api.model import Model
from qrt.progress import no_progress
from qrt.runtime import loader

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters(FakeTokenizer):
    """Every id of the model is a letter, but for BOS and the end of a turn."""

    n_vocab = 128

    def stream(self):
        return self

    def push(self, token):
        return LETTERS[token % 26]

    def flush(self):
        return ""

    def detokenize(self, tokens, **_options):
        return "".join(self.push(t) for t in tokens)


class Turns:
    """A chat template: the contents one after the other, a space behind each."""

    source = ""

    def tokens(self, messages, _template_vars):
        return Letters().tokenize("".join(f"{m['content']} " for m in messages))


class Watched:
    """An executor that outlives its models, and tells when one of them closed it."""

    def __init__(self, executor):
        self.executor, self.settings, self.closed = executor, executor.settings, threading.Event()
        self.copy_page, self.placement = executor.copy_page, executor.placement
        self.page, self.page_digest = executor.page, executor.page_digest
        self.masked, self.survey = executor.masked, executor.survey

    def step(self, batch):
        assert not self.closed.is_set()
        return self.executor.step(batch)

    def cancel(self):
        """Not the one that others go on with."""

    def close(self):
        self.closed.set()


@pytest.fixture(scope="module")
def loaded(data):
    options = loader.LoadOptions(backend="reference", n_ctx=200, n_threads=1, kv_type="f32")
    return loader.load(data / "arch" / "llama-dense.gguf", options, no_progress)


@pytest.fixture
def make(loaded, monkeypatch):
    """Makes models that share the weights; closing one leaves them in place."""
    monkeypatch.setattr("qrt.api.core.choose_template", lambda *_: Turns())
    future: Future[Letters] = Future()
    future.set_result(Letters())

    def model(seed=1, **changes):
        shared = {"file": copy.copy(loaded.file), "executor": Watched(loaded.executor)}
        changes = {"tokenizer": future, **shared, **changes}
        return Model(Core(dataclasses.replace(loaded, **changes), seed))

    return model


@pytest.fixture
def model(make):
    return make()
