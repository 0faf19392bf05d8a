"""The picture of docs/reference/long-prompts.md: what a token costs by the length of its prompt.

`python bench/long_prompts.py FILE... --page` writes table and picture; `tests/test_docs.py`
compares the two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from report import Row, markdown

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "long-prompts.md"
PICTURE = ROOT / "docs" / "images" / "long-prompts.svg"

Costs = Mapping[str, Mapping[int, float]]
"""Of each model, by the tokens of a prompt: the time of one token beside that of the shortest."""

LEFT, RIGHT, TOP, BOTTOM = 54, 24, 78, 300
WIDTH, HEIGHT = 720, 344
NEAR = 0.1
"""What lies no further from 1 is shaded."""

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e } .small { font-size: 12px }
polyline { fill: none; stroke-width: 2 } .near { fill: #59636e; opacity: 0.12 }
.a { stroke: #0f766e } .b { stroke: #b45309 } .c { stroke: #6d28d9 } .d { stroke: #be123c }
circle.a { fill: #0f766e } circle.b { fill: #b45309 }
circle.c { fill: #6d28d9 } circle.d { fill: #be123c }
line { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 } line { stroke: #9198a1 }
  .a { stroke: #2dd4bf } .b { stroke: #f59e0b } .c { stroke: #a78bfa } .d { stroke: #fb7185 }
  circle.a { fill: #2dd4bf } circle.b { fill: #f59e0b }
  circle.c { fill: #a78bfa } circle.d { fill: #fb7185 }
}
"""
LINES = "abcd"
"""Classes of style, one for each model."""


def costs(text: str) -> Costs:
    """What the table of the page says."""
    found: dict[str, dict[int, float]] = {}
    row = r"^\| (\S+) \| \d+ \| (\d+) \| [\d.]+ \| ([\d.]+) x \|"
    for model, tokens, ratio in re.findall(row, text, re.MULTILINE):
        found.setdefault(model, {})[int(tokens)] = float(ratio)
    return found


def draw(found: Costs) -> str:
    """The picture."""
    lengths = sorted({tokens for model in found.values() for tokens in model})
    ratios = [ratio for model in found.values() for ratio in model.values()]
    low, high = min(0.8, *ratios), max(1.2, *ratios)

    def x(tokens: int) -> str:
        whole = math.log2(lengths[-1] / lengths[0])
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * math.log2(tokens / lengths[0]) / whole:.1f}"

    def y(ratio: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (ratio - low) / (high - low)

    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    title = f"Time of a token of a prompt beside one of {lengths[0]:,} tokens"
    top, height = y(1 + NEAR), y(1 - NEAR) - y(1 + NEAR)
    right = WIDTH - RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="18">{escape(title)}; shaded: within {NEAR:.0%}</text>',
        f'<rect class="near" x="{LEFT}" y="{top:.1f}" width="{right - LEFT}" '
        f'height="{height:.1f}"/>',
        f'<line x1="{LEFT}" y1="{y(1):.1f}" x2="{right}" y2="{y(1):.1f}"/>',
    ]
    for ratio in (low, 1 - NEAR, 1.0, 1 + NEAR, high):
        parts.append(
            f'<text class="quiet small" x="{LEFT - 8}" y="{y(ratio) + 4:.1f}" '
            f'text-anchor="end">{ratio:.2f} x</text>'
        )
    for tokens in lengths:
        anchor = {lengths[0]: "start", lengths[-1]: "end"}.get(tokens, "middle")
        parts.append(
            f'<text class="quiet" x="{x(tokens)}" y="{BOTTOM + 24}" '
            f'text-anchor="{anchor}">{tokens:,}</text>'
        )
    for i, (model, by_length) in enumerate(found.items()):
        style, at = LINES[i % len(LINES)], LEFT + 330 * (i % 2)
        under = 40 + 18 * (i // 2)
        points = [(x(tokens), f"{y(ratio):.1f}") for tokens, ratio in by_length.items()]
        line = " ".join(f"{a},{b}" for a, b in points)
        parts.append(f'<polyline class="{style}" points="{line}"/>')
        parts += [f'<circle class="{style}" cx="{a}" cy="{b}" r="3.5"/>' for a, b in points]
        parts.append(f'<circle class="{style}" cx="{at + 6}" cy="{under - 4}" r="5"/>')
        parts.append(f'<text class="quiet" x="{at + 18}" y="{under}">{escape(model)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def write_page(rows: Sequence[Row]) -> None:
    """Puts the rows in the place of the page's table, and draws it."""
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(r"^\|.*\|$(\n^\|.*\|$)*", lambda _: markdown(rows), text, count=1, flags=re.M)
    PAGE.write_text(text, encoding="utf-8")
    PICTURE.write_text(draw(costs(text)), encoding="utf-8")
