"""Where the time of a step goes: each op's time, bytes and flops, and how far it is from its limit.

The limit is the roofline's: the least time in which the threads can read the bytes or do the flops
at the ceilings of the machine, whichever takes longer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from qrt.backends.cpu.ceilings import Ceilings
from qrt.graph.batch import Phase

_SUMMED = (
    *("calls", "seconds", "wait_s", "weight_bytes", "state_bytes", "flops"),
    *("memory_s", "compute_s"),
)

_LAYER_OR_SUFFIX = re.compile(r"^blk\.\d+\.|\.weight$")


@dataclass(frozen=True, slots=True)
class OpTime:
    """Records of one step taken together: one of them, or all of a kind."""

    kind: str
    name: str
    kernel: str
    calls: int
    seconds: float
    wait_s: float = 0.0
    """What of `seconds` the threads spend at barriers, for the slowest of them."""
    weight_bytes: int = 0
    state_bytes: int = 0
    flops: int = 0
    memory_s: float = 0.0
    """The limits of those records that reading bounds, together."""
    compute_s: float = 0.0
    """The limits of those that arithmetic bounds."""

    @property
    def n_bytes(self) -> int:
        """Bytes of weights, keys and values that are read."""
        return self.weight_bytes + self.state_bytes

    @property
    def gb_s(self) -> float:
        return self.n_bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gflop_s(self) -> float:
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def bound(self) -> str | None:
        """What most of the limit is due to, memory or compute; None where no flops are counted."""
        if not self.flops:
            return None
        return "memory" if self.memory_s >= self.compute_s else "compute"

    @property
    def limit_percent(self) -> float | None:
        """How much of the roofline is reached; None where no flops are counted."""
        if not (self.flops and self.seconds):
            return None
        return 100 * (self.memory_s + self.compute_s) / self.seconds


@dataclass(frozen=True, slots=True)
class StepProfile:
    """One kind of step; all times are means over `n_steps` of them, so they add up."""

    phase: Phase
    n_rows: int
    depth: int
    """Tokens before the step's own, in the middle one of the steps."""
    n_threads: int
    n_steps: int
    seconds: float
    """Of a whole step, as the engine runs it."""
    records: tuple[OpTime, ...]
    """Every record of the tape, in order."""

    @property
    def title(self) -> str:
        """pp512, pp512 @ d4096, tg1 @ d16: as bench names its tests."""
        name = f"{'pp' if self.phase == 'prefill' else 'tg'}{self.n_rows}"
        return f"{name} @ d{self.depth}" if self.depth else name

    @property
    def ops(self) -> list[OpTime]:
        """The records by op, name without its layer, and kernel, in order of first use."""
        return _grouped(
            self.records, lambda r: (r.kind, _LAYER_OR_SUFFIX.sub("", r.name), r.kernel)
        )

    @property
    def kinds(self) -> list[OpTime]:
        """The records by op alone."""
        return _grouped(self.records, lambda r: (r.kind, "all", ""))

    @property
    def totals(self) -> list[OpTime]:
        """The tape, which is all records; Python around it, threads waking up; the whole step."""
        (tape,) = _grouped(self.records, lambda _: ("tape", "", ""))
        python = OpTime("python", "", "", 0, self.seconds - tape.seconds)
        return [tape, python, replace(tape, kind="step", seconds=self.seconds)]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is, and what of it a decoded token needs."""

    n_params: int
    n_active_params: int
    file_bytes: int
    weight_bytes_per_token: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The steps of one model, and what this machine can do at most."""

    model_filename: str
    n_threads: int
    """Those of the phase that has more."""
    kv_type: str
    size: Size
    ceilings: Ceilings
    """Of `n_threads` threads: medians of measurements before, between and after the steps."""
    steps: tuple[StepProfile, ...]


def chrome_trace(profile: Profile) -> dict[str, object]:
    """One step of each kind in Chrome's trace event format, its records end to end."""
    events: list[dict[str, object]] = []
    for process, step in enumerate(profile.steps):
        where = {"pid": process, "tid": 0}
        title = {"name": f"{step.phase}: {step.n_rows} rows at {step.depth}"}
        events.append({"name": "process_name", "ph": "M", **where, "args": title})
        ts = 0.0
        for record in step.records:
            args = {
                "kernel": record.kernel,
                "bytes": record.n_bytes,
                "gb_s": record.gb_s,
                "flops": record.flops,
                "gflop_s": record.gflop_s,
                "wait_us": 1e6 * record.wait_s,
                "bound": record.bound,
                "limit_percent": record.limit_percent,
            }
            spent = {"ph": "X", "ts": ts, "dur": 1e6 * record.seconds}
            events.append({"name": record.name, "cat": record.kind, **spent, **where, "args": args})
            ts += 1e6 * record.seconds
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _grouped(
    records: Iterable[OpTime], key: Callable[[OpTime], tuple[str, str, str]]
) -> list[OpTime]:
    """Sums of the records that share a (kind, name, kernel), in order of first use."""
    groups: dict[tuple[str, str, str], list[OpTime]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return [
        OpTime(
            *names,
            **{field: sum(getattr(r, field) for r in group) for field in _SUMMED},
        )
        for names, group in groups.items()
    ]
