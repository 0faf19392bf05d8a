"""A process that forks while a model is in use: the child generates on its own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback
from collections.abc import Callable

import pytest

import qrt
from qrt.compat.llama_cpp import Llama
from qrt.config import embedded_model

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
OPTIONS = {"max_tokens": 12, "seed": 3, "temperature": 1.0}
MESSAGES = [{"role": "user", "content": "What does os.path.join do?"}]


def in_child(check: Callable[[], None]) -> bool:
    """Whether `check` passes in a forked process, within 30 s."""
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        try:
            check()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


@pytest.fixture(scope="module")
def model():
    with qrt.load(n_threads=2) as model:
        yield model


@pytest.fixture
def busy(model):
    """A model on which a thread generates, and the stream that it reads."""
    stop, begun = threading.Event(), threading.Event()
    stream = model.stream("def f(", ignore_eos=True, context_shift=True, cancel=stop)

    def read() -> None:
        for _ in stream:
            begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60)
    yield stream
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_child_generates_in_every_way(model, busy):
    expected = model.chat(MESSAGES, **OPTIONS).tokens

    def check() -> None:
        assert model.chat(MESSAGES, **OPTIONS).tokens == expected
        assert tuple(r.token for r in model.stream_chat(MESSAGES, **OPTIONS)) == expected
        assert asyncio.run(model.achat(MESSAGES, **OPTIONS)).tokens == expected
        with model.session() as session:
            assert session.chat(MESSAGES, **OPTIONS).tokens == expected
        prompts = [model.tokenize("x"), model.tokenize("y")]
        assert [c.finish_reason for c in model.generate_many(prompts, max_tokens=2)]
        with pytest.raises(qrt.ClosedError, match="its thread is in the parent process"):
            list(busy)
        model._core.engine.check_integrity()

    assert in_child(check)
    assert model.chat(MESSAGES, **OPTIONS).tokens == expected


@pytest.mark.usefixtures("busy")
def test_a_child_of_a_child_generates(model):
    expected = model.generate("def f(", **OPTIONS).tokens

    def check() -> None:
        assert model.generate("def f(", **OPTIONS).tokens == expected

    def twice() -> None:
        check()
        assert in_child(check)

    assert in_child(twice)


def test_a_child_made_while_a_loop_waits(model):
    async def main() -> bool:
        stream = model.astream("def f(", ignore_eos=True, context_shift=True)
        await anext(stream)
        answered = in_child(lambda: model.generate("def f(", max_tokens=3) and None)
        await stream.aclose()
        return answered

    assert asyncio.run(main())


def test_a_child_of_a_llama_that_streams():
    with Llama(str(embedded_model()), n_threads=1) as llm:
        expected = llm("`os.path", temperature=0)["choices"][0]["text"]
        stream = llm("`os.path", max_tokens=40, temperature=0, stream=True)
        next(stream)

        def check() -> None:
            assert llm("`os.path", temperature=0)["choices"][0]["text"] == expected
            assert list(stream)  # it was this thread's own

        assert in_child(check)
        assert list(stream)
