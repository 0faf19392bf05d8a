"""Sends mutated bodies to a server and looks at each reply."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from mutations import LEAKS, bodies
from served import NAME, Served, served

import qrt
from qrt.server.models import OneModel

_MEANT = (501, 504)
"""What this server cannot do, and what was not done in the time that the body allows."""


def fields_of(server: Served) -> dict[str, tuple[str, ...]]:
    """The fields of each path's body, none of a list."""
    routes = [route for route in server.app.state.table.routes if route.body is not None]
    return {route.path: getattr(route.body, "__struct_fields__", ()) for route in routes}


class Fuzz:
    """Several connections that send the same bodies in turn; what was wrong stands in `faults`."""

    def __init__(self, server: Served, n_bodies: int, seed: int) -> None:
        self._server = server
        self._bodies: Iterator[tuple[str, bytes]] = islice(
            bodies(seed, fields_of(server)), n_bodies
        )
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.faults: list[tuple[int, str, bytes, bytes]] = []
        self.seconds: list[float] = []

    def run(self, n_threads: int) -> None:
        """Sends all."""
        threads = [threading.Thread(target=self._work) for _ in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=60)
        while True:
            with self._lock:
                path, body = next(self._bodies, ("", b""))
            if not path:
                connection.close()
                return
            start = time.perf_counter()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            said = reply.read()
            took = time.perf_counter() - start
            is_fault = reply.status >= 500 and reply.status not in _MEANT
            with self._lock:
                self.statuses[reply.status] += 1
                self.seconds.append(took)
                if is_fault or LEAKS.search(said):
                    self.faults.append((reply.status, path, body[:2000], said[:2000]))


@contextmanager
def fuzzed(n_bodies: int, seed: int, n_threads: int) -> Iterator[tuple[Fuzz, Served]]:
    """The embedded model's server after so many bodies; every answer ends with its first token."""
    with qrt.load() as model:
        options = {"stopping": [lambda _ids, _text: True]}
        with served(models=OneModel(NAME, model, options=options)) as server:
            fuzz = Fuzz(server, n_bodies, seed)
            fuzz.run(n_threads)
            yield fuzz, server
