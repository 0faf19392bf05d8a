"""What a server has to survive, one function each: loads, bursts, clients that leave, that stall.

Each takes a target and sizes, and gives a row of what it found; `Failed` says what must not be.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice, pairwise
from typing import Any

from http_load import Reply, Target, ask, connection, percentile, request_bytes, reset
from report import Row

N_TOKENS = 24
_SETTLE_S = 20.0
_POLL_S = 0.02
_LONG = "import os\n" * 100


class Failed(Exception):  # noqa: N818
    """A server did what it must not."""


def check(is_so: bool, what: str) -> None:
    """Raises Failed unless it is so."""
    if not is_so:
        raise Failed(what)


def completion(target: Target, number: int, **fields: Any) -> dict[str, Any]:
    """The body of a streamed completion; each number has its own prompt and seed."""
    prompt = f"def function_{number}(x, y):\n    "
    return {
        "model": target.model,
        "prompt": prompt,
        "max_tokens": N_TOKENS,
        "temperature": 0.9,
        "seed": number,
        "ignore_eos": True,
        "stream": True,
        **fields,
    }


async def completed(target: Target, number: int, **fields: Any) -> Reply:
    """The reply to such a body."""
    return await ask(target, "/v1/completions", completion(target, number, **fields))


async def engine(target: Target) -> dict[str, int]:
    """The pages and generations of the model's engine."""
    listed = (await ask(target, "/models")).json["data"]
    found = next(m["engine"] for m in listed if target.model in (m["id"], *m["aliases"]))
    check(found is not None, f"{target.model} is not loaded")
    return dict(found)


async def until_free(target: Target, n_free: int, n_running: int = 0) -> float:
    """Seconds until so many pages are free, and no more than so many generations there."""
    began = time.perf_counter()
    while True:
        now = await engine(target)
        if now["running"] + now["waiting"] <= n_running and (
            n_running or now["free_pages"] == n_free
        ):
            return time.perf_counter() - began
        check(time.perf_counter() - began < _SETTLE_S, f"pages are held: {now}, of {n_free} free")
        await asyncio.sleep(_POLL_S)


async def solo(target: Target, numbers: Iterable[int], **fields: Any) -> dict[int, str]:
    """The texts of completions that nothing else runs beside."""
    texts = {}
    for number in numbers:
        reply = await completed(target, number, **fields)
        check(reply.status == 200 and reply.is_whole, f"alone: {reply.status} {reply.problem}")
        texts[number] = reply.text
    return texts


class Pulse:
    """Asks /health again and again beside what goes on; `worst_s` is the slowest answer."""

    def __init__(self, target: Target) -> None:
        self.worst_s = 0.0
        self._target = target
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            reply = await ask(self._target, "/health")
            self.worst_s = max(self.worst_s, reply.ended - reply.began)
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Asks no more."""
        self._task.cancel()
        await asyncio.wait([self._task])


async def load(target: Target, n_streams: int = 64, n_rounds: int = 20) -> Row:
    """Streams at once, round after round: each must be whole, and what it is alone."""
    expected = await solo(target, range(n_streams))
    n_free = (await engine(target))["free_pages"]
    pulse, waits, n_equal = Pulse(target), [], 0
    began = time.perf_counter()
    for _ in range(n_rounds):
        replies = await asyncio.gather(*(completed(target, i) for i in range(n_streams)))
        n_equal += sum(reply.text == expected[i] for i, reply in enumerate(replies))
        waits += [reply.token_times[0] - reply.began for reply in replies if reply.token_times]
    seconds = time.perf_counter() - began
    await pulse.stop()
    await until_free(target, n_free)
    total = n_streams * n_rounds
    check(n_equal == total, f"{n_equal} of {total} streams are what they are alone")
    return {
        "case": "load",
        "found": f"{n_equal} of {total} equal",
        "tok/s": total * N_TOKENS / seconds,
        "first token p99 s": percentile(waits, 0.99),
        "slowest /health s": pulse.worst_s,
    }


async def burst(target: Target, n_requests: int = 1000) -> Row:
    """All at once: each is answered or put off, none is reset or forgotten."""
    n_free = (await engine(target))["free_pages"]
    replies = await asyncio.gather(*(completed(target, i, max_tokens=8) for i in range(n_requests)))
    statuses = Counter(reply.status for reply in replies)
    bad = [reply for reply in replies if reply.status not in (200, 429, 503) or reply.problem]
    check(not bad, f"{len(bad)} of {n_requests}: {[(r.status, r.problem) for r in bad[:3]]}")
    late = [r for r in replies if r.status in (429, 503) and "retry-after" not in r.headers]
    check(not late, "a request was put off without Retry-After")
    check(all(r.is_whole for r in replies), "a stream ended early")
    await until_free(target, n_free)
    return {"case": "burst", "found": str(dict(sorted(statuses.items())))}


async def _half_a_body(target: Target, number: int) -> None:
    data = request_bytes(target, "POST", "/v1/completions", b"{" + b" " * 2000)
    async with connection(target) as (_, writer):
        writer.write(data[: -1000 - number % 900])
        await writer.drain()
        await asyncio.sleep(0.005)


async def _sent_and_gone(target: Target, number: int) -> None:
    data = json.dumps(completion(target, number, max_tokens=200)).encode()
    async with connection(target) as (_, writer):
        writer.write(request_bytes(target, "POST", "/v1/completions", data))
        await writer.drain()
        await asyncio.sleep(random.random() * 0.01)


async def _in_prefill(target: Target, number: int) -> None:
    data = json.dumps(completion(target, number, prompt=f"# {number}\n{_LONG}")).encode()
    async with connection(target) as (_, writer):
        writer.write(request_bytes(target, "POST", "/v1/completions", data))
        await writer.drain()
        await asyncio.sleep(0.02)


async def _in_the_answer(target: Target, number: int) -> None:
    fields = completion(target, number, max_tokens=300)
    await ask(target, "/v1/completions", fields, n_events=1 + number % 5)


async def _reset(target: Target, number: int) -> None:
    fields = completion(target, number, max_tokens=300)
    await ask(target, "/v1/completions", fields, n_events=1 + number % 5, then_reset=True)


async def _at_the_end(target: Target, number: int) -> None:
    await ask(target, "/v1/completions", completion(target, number, max_tokens=2), n_events=3)


async def _reset_at_once(target: Target, number: int) -> None:
    data = json.dumps(completion(target, number)).encode()
    async with connection(target) as (_, writer):
        writer.write(request_bytes(target, "POST", "/v1/completions", data))
        await writer.drain()
        reset(writer)


LEAVING: tuple[Callable[[Target, int], Awaitable[None]], ...] = (
    _half_a_body,
    _sent_and_gone,
    _in_prefill,
    _in_the_answer,
    _reset,
    _at_the_end,
    _reset_at_once,
)
"""The ways to leave a server."""


async def disconnects(
    target: Target, n_leaving: int = 500, n_staying: int = 4, at_once: int = 20
) -> Row:
    """Clients leave at every stage: their pages come back, who stays gets what he gets alone."""
    expected = await solo(target, range(n_staying), max_tokens=300)
    n_free = (await engine(target))["free_pages"]
    is_over = False
    n_equal = n_streams = 0

    async def stay(number: int) -> None:
        nonlocal n_equal, n_streams
        while not is_over:
            reply = await completed(target, number, max_tokens=300)
            n_streams += 1
            n_equal += reply.text == expected[number]

    staying = [asyncio.create_task(stay(i)) for i in range(n_staying)]
    worst_s = 0.0
    for first in range(0, n_leaving, at_once):
        numbers = range(first, min(first + at_once, n_leaving))
        await asyncio.gather(*(LEAVING[i % len(LEAVING)](target, 1000 + i) for i in numbers))
        worst_s = max(worst_s, await until_free(target, n_free, n_running=n_staying))
    is_over = True
    await asyncio.gather(*staying)
    await until_free(target, n_free)
    check(n_equal == n_streams, f"{n_equal} of {n_streams} other streams unchanged")
    return {
        "case": "disconnects",
        "found": f"{n_leaving} left, all pages back; {n_streams} others unchanged",
        "until gone s": worst_s,
    }


async def slow(target: Target, n_slow: int = 32, n_normal: int = 8) -> Row:
    """Readers that read nothing: the others get theirs, and as fast."""
    expected = await solo(target, range(n_normal), max_tokens=200)
    n_free = (await engine(target))["free_pages"]

    async def normal() -> list[float]:
        replies = await asyncio.gather(
            *(completed(target, i, max_tokens=200) for i in range(n_normal))
        )
        equal = sum(reply.text == expected[i] for i, reply in enumerate(replies))
        check(equal == n_normal, f"beside slow readers {equal} of {n_normal} are unchanged")
        return [b - a for r in replies for a, b in pairwise(r.token_times)]

    async def stalled(number: int) -> None:
        data = json.dumps(completion(target, 500 + number, max_tokens=400)).encode()
        async with connection(target, receive_bytes=1024) as (_, writer):
            writer.write(request_bytes(target, "POST", "/v1/completions", data))
            await asyncio.sleep(3600)

    alone = await normal()
    tasks = [asyncio.create_task(stalled(i)) for i in range(n_slow)]
    await asyncio.sleep(1.0)
    while (await engine(target))["running"]:
        await asyncio.sleep(_POLL_S)
    beside = await normal()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await until_free(target, n_free)
    return {
        "case": "slow",
        "found": f"{n_normal} normal unchanged beside {n_slow} that do not read",
        "between tokens p99, of alone": percentile(beside, 0.99) / percentile(alone, 0.99),
    }


async def demand(target: Target, times: int = 10, n_alone: int = 8) -> Row:
    """Streams that want many times the pages that there are: all come to their end."""
    pages = (await engine(target))["pages"]
    n_tokens = 300
    n_streams = times * pages * 64 // (n_tokens + 12) + 1
    numbers = range(n_streams)
    expected = await solo(target, list(numbers)[:n_alone], max_tokens=n_tokens)
    n_free = (await engine(target))["free_pages"]
    replies = await asyncio.gather(*(completed(target, i, max_tokens=n_tokens) for i in numbers))
    bad = [(r.status, r.problem, r.errors) for r in replies if r.status != 200 or r.errors]
    check(not bad, f"{len(bad)} of {n_streams} failed: {bad[:2]}")
    equal = sum(replies[i].text == text for i, text in expected.items())
    check(equal == len(expected), f"{equal} of {len(expected)} are what they are alone")
    await until_free(target, n_free)
    return {"case": "demand", "found": f"{n_streams} streams wanting {times} x {pages} pages"}


async def race(target: Target, n_actions: int = 2000, n_workers: int = 8) -> Row:
    """Loads, unloads, tokenizing and generating at once: no answer but a right one."""
    expected = await solo(target, range(4))
    statuses: Counter[tuple[str, int]] = Counter()
    chance = random.Random(1)

    async def act() -> None:
        kind = chance.choice(("load", "unload", "tokenize", "generate", "generate", "chat"))
        named = {"model": target.model}
        if kind in ("load", "unload"):
            reply = await ask(target, f"/models/{kind}", named)
        elif kind == "tokenize":
            reply = await ask(target, "/tokenize", {**named, "content": "def f(x):"})
        elif kind == "chat":
            messages = [{"role": "user", "content": "What does len do?"}]
            body = {**named, "messages": messages, "max_tokens": 4}
            reply = await ask(target, "/v1/chat/completions", body)
        else:
            number = chance.randrange(4)
            reply = await completed(target, number)
            check(reply.text == expected[number], f"{number} is not what it is alone")
        statuses[kind, reply.status] += 1
        check(reply.status == 200, f"{kind}: {reply.status} {reply.body[:200]!r} {reply.problem}")

    async def work() -> None:
        for _ in range(n_actions // n_workers):
            await act()

    await asyncio.gather(*(work() for _ in range(n_workers)))
    return {"case": "race", "found": f"{sum(statuses.values())} actions, all answered"}


KINDS = ("stream", "stream", "whole", "chat", "bad", "leave", "tokens", "list")
"""What a soak asks for, by chance."""


async def soak(target: Target, n_requests: int = 20_000, at_once: int = 24) -> Row:
    """All kinds of requests, for long: memory, descriptors, threads and pages stay as they are."""
    chance = random.Random(2)
    counts: Counter[str] = Counter()
    samples: list[tuple[int, int]] = []
    n_done = 0

    async def one(number: int) -> None:
        kind = chance.choice(KINDS)
        status = 200
        if kind == "stream":
            status = (await completed(target, number % 500, max_tokens=8)).status
        elif kind == "whole":
            status = (await completed(target, number, max_tokens=4, stream=False)).status
        elif kind == "chat":
            messages = [{"role": "user", "content": f"What is {number}?"}]
            body = {"model": target.model, "messages": messages, "max_tokens": 4}
            status = (await ask(target, "/v1/chat/completions", body)).status
        elif kind == "bad":
            status = (await ask(target, "/v1/completions", b'{"prompt": [')).status
        elif kind == "leave":
            await LEAVING[number % len(LEAVING)](target, number)
        elif kind == "tokens":
            body = {"model": target.model, "content": f"x = {number}"}
            status = (await ask(target, "/tokenize", body)).status
        else:
            status = (await ask(target, "/v1/models")).status
        counts[f"{kind} {status}"] += 1

    async def work(numbers: Iterable[int]) -> None:
        nonlocal n_done
        for number in numbers:
            await one(number)
            n_done += 1
            if n_done % 250 == 0:
                samples.append((n_done, target.resident_bytes()))

    numbers = iter(range(n_requests))
    n_warm = n_requests // 5
    await asyncio.gather(*(work(list(islice(numbers, n_warm // at_once))) for _ in range(at_once)))
    await asyncio.sleep(1.0)
    n_free = (await engine(target))["free_pages"]
    before = target.n_files(), target.n_threads()
    samples.clear()
    await asyncio.gather(*(work(numbers) for _ in range(at_once)))
    await until_free(target, n_free)
    await asyncio.sleep(1.0)
    after = target.n_files(), target.n_threads()
    bad = {kind: n for kind, n in counts.items() if not kind.endswith((" 200", "bad 400"))}
    check(not bad, f"wrong answers: {bad}")
    check(after[0] <= before[0], f"descriptors: {before[0]}, then {after[0]}")
    check(after[1] <= before[1], f"threads: {before[1]}, then {after[1]}")
    return {
        "case": "soak",
        "found": f"{n_done} requests",
        "MB per 1000 requests": slope(samples) * 1000 / 1e6,
        "descriptors": f"{before[0]} -> {after[0]}",
        "threads": f"{before[1]} -> {after[1]}",
    }


def slope(samples: list[tuple[int, int]]) -> float:
    """The slope of the line that fits (x, y) best; 0 for fewer than two."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    above = sum((x - mean_x) * (y - mean_y) for x, y in samples)
    return above / sum((x - mean_x) ** 2 for x, _ in samples)
