"""Steps of several models on one machine: crowds take turns, small teams run side by side."""

from __future__ import annotations

import signal
import threading
import time

import pytest

import qrt
from qrt.backends.cpu import executor
from qrt.backends.cpu.cores import Cores


def waiting(cores, owner, n_threads, order):
    """A thread that takes cores, notes that it has them, and gives them back at once."""

    def work():
        try:
            cores.take(owner, n_threads)
            order.append(owner)
        finally:
            cores.give(owner)

    thread = threading.Thread(target=work)
    thread.start()
    while owner not in cores._waiting and owner not in order:
        time.sleep(0.001)
    return thread


def test_those_who_wait_come_in_order_and_no_small_one_passes_a_large_one():
    cores, order = Cores(2), []
    cores.take("first", 1)
    threads = [waiting(cores, name, n, order) for name, n in (("large", 9), ("small", 1))]
    assert not order
    cores.give("first")
    for thread in threads:
        thread.join(5)
    assert order == ["large", "small"]


def test_small_teams_run_beside_each_other():
    cores = Cores(2)
    cores.take("a", 1)
    cores.take("b", 1)
    cores.give("a")
    cores.take("c", 1)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no such timer")
def test_who_is_interrupted_leaves_nothing_behind():
    def interrupt(*_):
        raise KeyboardInterrupt

    def take_and_give():
        try:
            cores.take("left", 1)
        finally:
            cores.give("left")

    cores = Cores(1)
    cores.take("holder", 1)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            take_and_give()
    finally:
        signal.signal(signal.SIGALRM, before)
    cores.give("holder")
    cores.take("next", 1)
    assert not cores._waiting


@pytest.mark.parametrize("n_threads", [1, 2])
def test_models_that_run_at_once_give_what_they_give_alone(monkeypatch, n_threads):
    cores = Cores(2)
    monkeypatch.setattr(executor, "CORES", cores)
    at_once, most = [], 0
    take = cores.take

    def taken(owner, n):
        nonlocal most
        take(owner, n)
        at_once.append(owner)
        most = max(most, len(cores._held))

    monkeypatch.setattr(cores, "take", taken)
    models = [qrt.load(n_threads=n_threads) for _ in range(2)]
    alone = models[0].generate("def f(", max_tokens=40, seed=3).text
    texts = [""] * len(models)

    def run(i):
        texts[i] = models[i].generate("def f(", max_tokens=40, seed=3).text

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model in models:
        model.close()
    assert texts == [alone, alone]
    assert len(set(at_once)) == 2
    assert n_threads == 1 or most == 1
    assert not cores._held
