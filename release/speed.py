"""Draws the first table of docs/reference/speed.md: `python release/speed.py`.

A bar is the ratio of qrt's speed to llama.cpp's; `tests/test_docs.py` compares picture and table.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "reference" / "speed.md"
PICTURE = ROOT / "docs" / "images" / "speed.svg"

TESTS = {"pp512": ("prompt of 512 tokens", "prompt"), "tg32": ("answer of 32 tokens", "answer")}
"""The tests that are drawn: their names in the legend and their classes of style."""

LEFT, RIGHT, BAR, STEP, TOP = 74, 56, 12, 38, 58
WIDTH = 720

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e } .small { font-size: 12px }
.prompt { fill: #0f766e } .answer { fill: #5eb5a8 }
line { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 } line { stroke: #9198a1 }
  .prompt { fill: #2dd4bf } .answer { fill: #147a6e }
}
"""


def ratios(text: str) -> dict[str, dict[str, float]]:
    """The ratio of each test that is drawn, by model, in the order of the table."""
    found: dict[str, dict[str, float]] = {}
    for model, test, ratio in re.findall(
        r"^\| 1B (\S+) \| (\S+) \| \*\*([\d.]+) x\*\*", text, re.M
    ):
        if test in TESTS:
            found.setdefault(model, {})[test] = float(ratio)
    return found


def draw(rows: dict[str, dict[str, float]]) -> str:
    """The picture."""
    largest = max(ratio for tests in rows.values() for ratio in tests.values())

    def at(ratio: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ratio / largest

    bottom = TOP + STEP * len(rows)
    height = bottom + 24
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    title = "Speed of qrt over that of llama.cpp (1 x), 1B model, 2 threads"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="18">{escape(title)}</text>',
    ]
    for i, (name, style) in enumerate(TESTS.values()):
        x = LEFT + 190 * i
        parts.append(f'<rect class="{style}" x="{x}" y="30" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="quiet" x="{x + 18}" y="41">{name}</text>')
    for i, (model, tests) in enumerate(rows.items()):
        y = TOP + STEP * i
        parts.append(f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end">{escape(model)}</text>')
        for j, (test, ratio) in enumerate(tests.items()):
            top, end, style = y + j * (BAR + 2), at(ratio), TESTS[test][1]
            bar = f'x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"'
            parts.append(f'<rect class="{style}" {bar}/>')
            parts.append(
                f'<text class="small" x="{end + 6:.1f}" y="{top + 10}">{ratio:.2f} x</text>'
            )
    one = f"{at(1):.1f}"
    parts.append(f'<line x1="{one}" y1="{TOP - 6}" x2="{one}" y2="{bottom}"/>')
    parts.append(f'<text class="quiet" x="{one}" y="{bottom + 15}" text-anchor="middle">1 x</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main() -> None:
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(ratios(TABLE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
