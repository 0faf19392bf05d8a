"""Markdown as models write it, and what the page makes of it."""

from __future__ import annotations

_NESTED = "<li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li>"
_LINK = '<a href="https://a.org/">'

MARKDOWN = {
    "Plain text": "<p>Plain text</p>",
    "One\nline\\\nbreak": "<p>One<br>line<br>break</p>",
    "*a* **b** ***c*** _d_ __e__ ~~f~~": "<p><em>a</em> <strong>b</strong> <em><strong>c</strong>"
    "</em> <em>d</em> <strong>e</strong> <del>f</del></p>",
    "snake_case_name 2*3*4 a * b": "<p>snake_case_name 2<em>3</em>4 a * b</p>",
    "**bold *both* bold**": "<p><strong>bold <em>both</em> bold</strong></p>",
    "**open and *open": "<p>**open and *open</p>",
    "`a *b* c` ``x ` y`` `open": "<p><code>a *b* c</code> <code>x ` y</code> `open</p>",
    "# A\n## B #\n###### F": "<h1>A</h1><h2>B</h2><h6>F</h6>",
    "#no heading": "<p>#no heading</p>",
    "a\n\n---\n\nb": "<p>a</p><hr><p>b</p>",
    "- a\n- b\n\n- c": "<ul><li><p>a</p></li><li><p>b</p></li><li><p>c</p></li></ul>",
    "- a\n  - b\n    - c\n- d": f"<ul>{_NESTED}</ul>",
    "1. a\n  - b\n    - c\n2. d": f"<ol>{_NESTED}</ol>",
    "3. a\n4. b": '<ol start="3"><li>a</li><li>b</li></ol>',
    "- [ ] a\n- [x] b": '<ul><li class="task"><input type="checkbox" disabled="">a</li>'
    '<li class="task"><input type="checkbox" disabled="" checked="">b</li></ul>',
    "Text\n- a\n- b\n\nText": "<p>Text</p><ul><li>a</li><li>b</li></ul><p>Text</p>",
    "1. a\n\n   more\n\n2. b": "<ol><li><p>a</p><p>more</p></li><li><p>b</p></li></ol>",
    "> a\n> **b**\n\nc": "<blockquote><p>a<br><strong>b</strong></p></blockquote><p>c</p>",
    "> > deep\n> - x": "<blockquote><blockquote><p>deep</p></blockquote>"
    "<ul><li>x</li></ul></blockquote>",
    "| a | b |\n|:-|-:|\n| `x|y` | 1 |\n| z |": '<div class="table" tabindex="0" role="region" '
    'aria-label="Table"><table><thead><tr><th class="to-left">a</th>'
    '<th class="to-right">b</th></tr></thead><tbody>'
    '<tr><td class="to-left"><code>x|y</code></td><td class="to-right">1</td></tr>'
    '<tr><td class="to-left">z</td><td class="to-right"></td></tr></tbody></table></div>',
    "[a](https://a.org) <https://a.org/> https://a.org/.": f"<p>{_LINK}a</a> {_LINK}https://a.org/"
    f"</a> {_LINK}https://a.org/</a>.</p>",
    '[**a** b](https://a.org "T") ![pic](https://a.org)': f"<p>{_LINK}<strong>a</strong> b</a> "
    f"{_LINK}pic</a></p>",
    "(see https://a.org/x_(y) there)": '<p>(see <a href="https://a.org/x_(y)">https://a.org/x_(y)</a>'
    " there)</p>",
    "[a](javascript:b) [a](/b) [a] [a][b]": "<p>[a](javascript:b) [a](/b) [a] [a][b]</p>",
    "<mailto:a@b.org> <b>no</b>": '<p><a href="mailto:a@b.org">mailto:a@b.org</a> '
    "&lt;b&gt;no&lt;/b&gt;</p>",
    "\\*a\\* \\[b\\] 1\\. &amp;": '<p>*a* <span class="math">\\[b\\]</span> 1. &amp;amp;</p>',
    "$a_1 * b_2$ costs $5 and $6": '<p><span class="math">$a_1 * b_2$</span> costs $5 and $6</p>',
    "\\(x_1 + y_1\\)": '<p><span class="math">\\(x_1 + y_1\\)</span></p>',
    "$$\na_1 *b*\n$$\nb": '<p class="math">$$\na_1 *b*\n$$</p><p>b</p>',
}
"""By the text; of links without what all have in common."""
