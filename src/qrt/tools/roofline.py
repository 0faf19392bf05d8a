"""The roofline of a machine with the ops of a profile under it, as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from qrt.errors import InputError
from qrt.tools.op_times import OpTime, Profile, StepProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN = (11.0, 7.0)
_DPI = 120
_STYLES = {"prefill": ("o", "#1f6fb4", 1, "left"), "decode": ("^", "#c4571b", -1, "right")}
"""Phase -> marker, colour, and the side on which names stand with the edge that is next to it."""
_LINE = "#555555"
_LEADER = {"arrowstyle": "-", "lw": 0.5, "shrinkA": 1}
_NEXT_LABEL = 0.03
"""How far labels are apart at least, and from their points, in parts of the picture."""


def check_installed() -> None:
    """Raises InputError where there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib, which is not installed: pip install 'qrt[plot]'")


def png(profile: Profile) -> bytes:
    """A PNG of GFLOP/s over FLOP per byte: ceilings are lines, ops are points.

    Ops that have no flops, or read no weights, keys or values, have no place in it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(
        title=f"{Path(profile.model_filename).name}, {profile.n_threads} threads",
        xlabel="FLOP per byte of weights, keys and values",
        ylabel="GFLOP/s",
        xscale="log",
        yscale="log",
    )
    axes.grid(visible=True, alpha=0.3)
    _set_limits(axes, profile)
    _draw_ceilings(axes, profile)
    for step in profile.steps:
        _draw_ops(axes, step)
    axes.legend(loc="lower right")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _shown(step: StepProfile) -> list[OpTime]:
    return [op for op in step.ops if op.gflop_s and op.n_bytes]


def _set_limits(axes: Axes, profile: Profile) -> None:
    """Room for every op, and for the corner of every ceiling."""
    read, tops = profile.ceilings.read_gb_s, profile.ceilings.gflop_s.values()
    ops = [op for step in profile.steps for op in _shown(step)]
    x = [*(op.flops / op.n_bytes for op in ops), *(top / read for top in tops)]
    y = [*(op.gflop_s for op in ops), *tops]
    axes.set_xlim(min(x) / 4, max(x) * 4)
    axes.set_ylim(min(y) / 2, max(y) * 2)


def _draw_ceilings(axes: Axes, profile: Profile) -> None:
    read = profile.ceilings.read_gb_s
    left, right = axes.get_xlim()
    highest = max(profile.ceilings.gflop_s.values())
    axes.plot([left, highest / read], [left * read, highest], color=_LINE)
    middle = math.sqrt(left * highest / read)
    label = f"read {read:.1f} GB/s  "
    axes.text(middle, middle * read, label, color=_LINE, ha="right", va="bottom")
    for unit, top in profile.ceilings.gflop_s.items():
        axes.plot([top / read, right], [top, top], color=_LINE)
        axes.text(top / read, top, f"  {unit} {top:.0f} GFLOP/s", color=_LINE, va="bottom")


def _draw_ops(axes: Axes, step: StepProfile) -> None:
    """Points, and beside them their names: one below the other where they would overlap."""
    ops = sorted(_shown(step), key=lambda op: -op.gflop_s)
    marker, colour, side, edge = _STYLES[step.phase]
    at = [(op.flops / op.n_bytes, op.gflop_s) for op in ops]
    axes.plot([x for x, _ in at], [y for _, y in at], marker, color=colour, label=step.title)
    left, right = axes.get_xlim()
    for op, (x, y), label_y in zip(ops, at, _apart(axes, at), strict=True):
        axes.annotate(
            f"{op.name} {op.limit_percent:.0f}%",
            (x, y),
            (x * (right / left) ** (side * _NEXT_LABEL), label_y),
            color=colour,
            ha=edge,
            va="center",
            fontsize="small",
            arrowprops={**_LEADER, "color": colour, "relpos": (edge == "right", 0.5)},
        )


def _apart(axes: Axes, at: Sequence[tuple[float, float]]) -> list[float]:
    """For points from top to bottom the heights of labels that do not overlap."""
    low, high = axes.get_ylim()
    step = (high / low) ** _NEXT_LABEL
    found: list[float] = []
    below = math.inf
    for _, y in at:
        below = min(y, below / step)
        found.append(below)
    return found
