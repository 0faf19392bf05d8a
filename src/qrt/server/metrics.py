"""What a server counts, in Prometheus' format under the names that llama-server gives it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

from qrt.errors import ClosedError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from qrt.api import Model
    from qrt.runtime.health import Health
    from qrt.runtime.records import Timings

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Counts of seconds, by the upper end of what they fall into."""

    def __init__(self, ends: Sequence[float] = _SECONDS) -> None:
        self._ends = ends
        self._counts = [0] * (len(ends) + 1)
        self.total = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Counts so many seconds so many times."""
        self._counts[bisect_left(self._ends, seconds)] += times
        self.total += seconds * times

    def buckets(self) -> list[tuple[str, float]]:
        """(upper end, how many were not above it)."""
        counted, rows = 0, []
        for end, count in zip((*map(str, self._ends), "+Inf"), self._counts, strict=True):
            counted += count
            rows.append((end, float(counted)))
        return rows


class Metrics:
    """Counts of one server; changed in its event loop alone."""

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.prompt_s = 0.0
        self.answer_tokens = 0
        self.answer_s = 0.0
        self.most_tokens = 0
        self.n_running = 0
        self.models: WeakSet[Model] = WeakSet()
        """Those that have answered."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """By path of the route and status."""
        self.first_token = Histogram()
        self.between_tokens = Histogram()

    def count(self, timings: Timings) -> None:
        """Counts a generation that has ended."""
        n_computed = timings.n_prompt_tokens - timings.n_cached_tokens
        self.prompt_tokens += n_computed
        self.cached_tokens += timings.n_cached_tokens
        self.prompt_s += n_computed / timings.prefill_tok_s if timings.prefill_tok_s else 0.0
        self.answer_tokens += timings.n_tokens
        if timings.decode_tok_s:
            self.answer_s += (timings.n_tokens - 1) / timings.decode_tok_s
        self.most_tokens = max(self.most_tokens, timings.n_prompt_tokens + timings.n_tokens)

    def healths(self) -> list[Health]:
        """How those models are that are still there."""
        found = []
        for model in list(self.models):
            with suppress(ClosedError):
                found.append(model.health)
        return found

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` asks a collector for."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        healths = self.healths()
        n_steps = sum(health.counts.n_steps for health in healths)
        n_tokens = sum(health.counts.n_tokens for health in healths)
        n_waiting = sum(health.n_waiting for health in healths)
        for name, value, meaning in (
            ("n_decode", n_steps, "Steps computed, of models that are loaded."),
            ("prompt_tokens", self.prompt_tokens, "Prompt tokens computed."),
            ("prompt_seconds", self.prompt_s, "Seconds spent on prompts."),
            ("tokens_predicted", self.answer_tokens, "Tokens generated."),
            ("tokens_predicted_seconds", self.answer_s, "Seconds spent on generating."),
        ):
            yield CounterMetricFamily(f"llamacpp:{name}", meaning, value=value)
        for name, value, meaning in (
            ("prompt_tokens_seconds", _rate(self.prompt_tokens, self.prompt_s), "Prompt tok/s."),
            ("predicted_tokens_seconds", _rate(self.answer_tokens, self.answer_s), "Tok/s."),
            ("requests_processing", self.n_running - n_waiting, "Generations computed."),
            ("requests_deferred", n_waiting, "Generations that wait for room."),
            ("n_busy_slots_per_decode", _rate(n_tokens, n_steps), "Tokens of answers a step."),
            ("n_tokens_max", self.most_tokens, "Tokens of the longest prompt with its answer."),
        ):
            yield GaugeMetricFamily(f"llamacpp:{name}", meaning, value=value)
        yield CounterMetricFamily(
            "qrt:cached_tokens", "Prompt tokens that were stored.", value=self.cached_tokens
        )
        requests = CounterMetricFamily(
            "qrt:requests", "Requests answered.", labels=("path", "status")
        )
        for labels, count in self.requests.items():
            requests.add_metric(labels, count)
        yield requests
        for name, histogram, meaning in (
            ("time_to_first_token", self.first_token, "From request to first token."),
            ("time_between_tokens", self.between_tokens, "From token to token."),
        ):
            yield HistogramMetricFamily(
                f"qrt:{name}_seconds",
                meaning,
                buckets=histogram.buckets(),
                sum_value=histogram.total,
            )

    def written(self) -> bytes:
        """All of it as Prometheus reads it."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds else 0.0
