"""No body, however wrong, makes a server fail or say what is not the client's."""

from fuzz import fuzzed
from mutations import RIGHT


def test_mutated_bodies_are_answered_or_refused() -> None:
    with fuzzed(2000, seed=1, n_threads=3) as (fuzz, server):
        assert not fuzz.faults, fuzz.faults[0]
        assert fuzz.statuses[200] > 50
        assert fuzz.statuses[400] > 1000
        for path, body in RIGHT.items():
            assert server.ask(path, body).status in (200, 409, 501), path
        assert server.app.state.metrics.n_running == 0
