"""Sessions and models as handles: what they keep, share, free and refuse."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from concurrent.futures import Future

import pytest
from letters import Letters, Watched

import qrt
from qrt.errors import BusyError, ClosedError


def test_a_session_computes_only_what_is_new_and_answers_as_a_fresh_chat(model):
    options = {"max_tokens": 5, "temperature": 0, "ignore_eos": True}
    messages = [{"role": "user", "content": "abc"}]
    with model.session() as session:
        first = session.chat(messages, **options)
        messages += [
            {"role": "assistant", "content": "xy"},
            {"role": "user", "content": "the abc"},
        ]
        second = session.chat(messages, **options)
        assert second.timings.n_cached_tokens == len(model.tokenize("abc "))  # BOS and all
        again = session.chat(messages, **options)
        assert again.timings.n_cached_tokens == again.n_prompt_tokens - 1
        assert again.tokens == second.tokens
    assert model.chat(messages, **options).tokens == second.tokens
    assert model.chat(messages[:1], **options).tokens == first.tokens
    with pytest.raises(qrt.InputError, match="the session is closed"):
        session.generate("abc", max_tokens=1)
    assert list(model.stream_chat(messages, **options))[-1].finish_reason == "length"


def test_a_forked_session_goes_on_by_itself(model):
    options = {"max_tokens": 5, "temperature": 0, "ignore_eos": True}
    with model.session() as session:
        session.generate([5, 6, 7], **options)
        with session.fork() as branch:
            two, one = (s.generate([5, 6, 7, n], **options) for s, n in ((branch, 9), (session, 8)))
            assert (one.timings.n_cached_tokens, two.timings.n_cached_tokens) == (3, 3)
    assert one.tokens == model.generate([5, 6, 7, 8], **options).tokens
    assert two.tokens == model.generate([5, 6, 7, 9], **options).tokens


def test_a_session_that_is_closed_or_busy_says_so(model):
    session = model.session()
    stream = session.stream("abc", ignore_eos=True)
    next(stream)
    with pytest.raises(BusyError, match="still generating"):
        session.generate("abc")
    session.close()
    with pytest.raises(ClosedError, match="the session is closed"):
        next(stream)
    with pytest.raises(ClosedError, match="the session is closed"):
        session.fork()
    assert model._core.engine.n_free_pages == model._core.engine.n_pages


def test_letting_go_of_a_session_frees_its_pages(model):
    session = model.session()
    session.generate("abc", max_tokens=3)
    assert model._core.engine.n_free_pages != model._core.engine.n_pages
    del session
    gc.collect()
    assert model._core.engine.n_free_pages == model._core.engine.n_pages


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_the_thread_that_built_the_tokenizer(make, monkeypatch):
    monkeypatch.setattr("qrt.api.core.build_tokenizer", lambda *_: Letters())
    model = make(tokenizer=Future())  # nobody will ever set it
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        os._exit(int(model.generate("abc", max_tokens=3).n_prompt_tokens != 2))
    assert os.waitpid(pid, 0)[1] == 0


def test_a_closed_model_says_so(make, loaded):
    watched = Watched(loaded.executor)
    with make(executor=watched) as model:
        session, stream = model.session(), model.stream("abc")
        next(stream)
    assert watched.closed.is_set()
    model.close()
    session.close()
    for call in (
        lambda: model.generate("abc"),
        lambda: model.tokenize("abc"),
        lambda: model.logits([1]),
        lambda: model.metadata,
        lambda: model.placement(),
        lambda: model.session(),
        lambda: session.generate("abc"),
        lambda: next(stream),
    ):
        with pytest.raises(ClosedError, match="the model is closed"):
            call()


def test_letting_go_of_a_model_frees_it(make, loaded):
    watched = Watched(loaded.executor)
    model = make(executor=watched)
    model.generate("abc", max_tokens=2)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert watched.closed.is_set()
