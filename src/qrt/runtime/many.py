"""Many generations on one model, decoded together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from qrt.errors import FullError
from qrt.runtime.engine import Engine
from qrt.runtime.generation import Generation
from qrt.runtime.records import TokenRecord
from qrt.runtime.request import UNTIL_IT_ENDS, Request
from qrt.runtime.turns import Caller


def run_many(
    engine: Engine, generations: Iterable[Generation], batch_size: int
) -> list[list[TokenRecord]]:
    """The records of each generation, in the order given; each gives what it gives alone.

    At most `batch_size` are submitted at a time; one that ends makes room for the next.
    """
    requests = [Request(generation) for generation in generations]
    waiting, going = deque(requests), list[Request]()
    size = min(batch_size, engine.limits.n_running)
    caller = Caller(lambda: any(request.has_ended for request in going))
    try:
        while waiting or going:
            while waiting and len(going) < size:
                waiting[0].wanted = UNTIL_IT_ENDS
                try:
                    engine.submit(waiting[0])
                except FullError:
                    if not going:
                        raise
                    break
                going.append(waiting.popleft())
            engine.drive(caller)
            for request in [each for each in going if each.has_ended]:
                if request.error is not None:
                    raise request.error
                going.remove(request)
    finally:
        for request in going:
            engine.leave(request)
    return [request.generation.records for request in requests]
