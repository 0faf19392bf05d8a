"""Answers in a terminal: words whole, Markdown rendered, the same however the text was cut."""

from __future__ import annotations

import re
from collections import Counter
from io import StringIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from terminal import Terminal

from qrt.cli.render.cells import cells_of, text_of, wrap
from qrt.cli.render.inline import inline
from qrt.cli.render.lines import Lines
from qrt.cli.render.markdown import Markdown
from qrt.cli.render.marked import Marked
from qrt.cli.render.screen import Screen, Window

WIDTHS = (20, 60, 120)

DOCUMENT = """
# A title with `code`
Some **bold text**, *italic* and `a code`, ~~gone~~, a [link](http://example.org/a_b), <http://x.y>.
Two lines, snake_case, 2 * 3 * 4, \\(a_1 + b\\), <b>no HTML</b> &amp; no entity, [x] and a_ b* c.

- an item that is long enough to be wrapped in a window of sixty columns, below its text
  1. nested, *also* with a text that is long enough to be wrapped
  2. **bold: `code` within**

   more of the item

```python
def f(x):
    \"\"\"Doc
    string, *no* **Markdown**.\"\"\"
    return x  # a long line stays one line, whatever the width of the window, and can be copied
```
text right behind the fence
> quoted *words* that are long enough to be wrapped at sixty columns, and a bar is before each row
---
日本語のテキストは空白がないので、どこでも折り返せます。 한국어는 띄어쓰기로. naïve café 👍🏽
## The end
"""

TABLE = """\
| Name | Value | Meaning |
|:-----|------:|:-------:|
| `alpha` | 1.5 | the first letter of the Greek alphabet |
| **beta** | 22 | the `a \\| b` second |
| gamma |
"""

SOUP = st.lists(
    st.sampled_from(
        [
            *("**", "*", "_", "`", "```", "```py\n", "~~", "# ", "## ", "- ", "1. ", "> ", "---"),
            *("|", "|-|-|\n", "\n|a|b|\n", "[", "](http://x)", "<", ">", "\\", "!", "\n", "\n\n"),
            *(" ", "    ", "a", "bc ", "word ", "12", "é", "日本", "，", "👍🏽", '"""', "def f():"),
        ]
    ),
    max_size=40,
).map("".join)


def shown(pieces, width, *, lines=Markdown, height=50, resized=None):
    """The terminal after the pieces; its width becomes `resized` halfway."""
    out, rendered = StringIO(), lines()
    screen, terminal = Screen(out, has_escapes=lines is Markdown), Terminal(width, height)
    window = Window(width, height)
    for i, piece in enumerate(pieces):
        if resized and i == len(pieces) // 2:
            if not screen.fits(min(width, resized)):
                screen.leave(new_row=rendered.cut())
            terminal.feed(out.getvalue())
            out.truncate(0), out.seek(0)
            terminal.width = resized
            window = Window(resized, height)
        rendered.push(piece)
        screen.show(*rendered.rows(window), window)
    screen.show(*rendered.rows(window, is_end=True), window)
    assert lines is Markdown or "\x1b" not in out.getvalue()
    return terminal.feed(out.getvalue())


def tokens(text):
    """Pieces as a model gives them: words with the white space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


def words(text):
    return re.findall(r"\w+", text)


PRINTED = """\
A title with code
Some bold text, italic and a code, gone, a link
(http://example.org/a_b), http://x.y.
Two lines, snake_case, 2 * 3 * 4, \\(a_1 + b\\), <b>no
HTML</b> &amp; no entity, [x] and a_ b* c.

• an item that is long enough to be wrapped in a window of
  sixty columns, below its text
  1. nested, also with a text that is long enough to be
     wrapped
  2. bold: code within

   more of the item

python
def f(x):
    \"""Doc
    string, *no* **Markdown**.\"""
    return x  # a long line stays one line, whatever the width of the window, and can be copied

text right behind the fence
│ quoted words that are long enough to be wrapped at sixty
│ columns, and a bar is before each row
────────────────────────────────────────────────────────────
日本語のテキストは空白がないので、どこでも折り返せます。
한국어는 띄어쓰기로. naïve café 👍🏽

The end
"""


def test_a_document_at_sixty_columns():
    assert shown([DOCUMENT], 60).text == PRINTED + "\n"  # the cursor begins a row


@pytest.mark.parametrize("width", WIDTHS)
def test_copying_loses_nothing_and_words_stay_whole(width):
    text = shown([DOCUMENT], width).text
    japanese = re.compile(r"(?<=[ぁ-ヿ一-龥、])\n(?=[ぁ-ヿ一-龥])")
    assert words(japanese.sub("", text)) == words(PRINTED)
    code = DOCUMENT.partition("```python\n")[2].partition("```")[0]
    assert code in text


@settings(max_examples=300)
@given(SOUP, st.sampled_from(WIDTHS), st.sampled_from([Markdown, Marked, Lines]), st.data())
@example("**a", 20, Markdown, None)
def test_the_screen_does_not_depend_on_the_pieces(text, width, lines, data):
    at = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted)) if data else [1, 2]
    pieces = [text[i:j] for i, j in zip([0, *at], [*at, len(text)], strict=True)]
    whole = shown([text], width, lines=lines)
    assert shown(pieces, width, lines=lines).text == whole.text
    assert shown(list(text), width, lines=lines).text == whole.text
    if lines is Markdown:
        assert shown(list(text), width).rows == whole.rows


@given(SOUP, st.sampled_from(WIDTHS))
@example("|```py\n", 20)
def test_whatever_is_no_mark_is_shown(text, width):
    letters = re.compile(r"[^\W_]")
    in_tables = letters.findall(shown([text], width).text)  # where heads may come more than once
    assert not Counter(letters.findall(text)) - Counter(in_tables)
    text = text.replace("|", "")
    assert letters.findall(shown([text], width).text) == letters.findall(text)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("text", [DOCUMENT, TABLE, TABLE + DOCUMENT + TABLE])
def test_a_document_cut_anywhere_is_the_same(text, width):
    whole = shown([text], width)
    assert shown(list(text), width).rows == whole.rows
    assert shown(tokens(text), width).rows == whole.rows
    assert shown(list(text), width, height=12).text.endswith(whole.text[-200:])


def test_a_table():
    assert (
        shown([TABLE], 60).text
        == """\
Name  │ Value │                Meaning
──────┼───────┼───────────────────────────────────────
alpha │   1.5 │ the first letter of the Greek alphabet
beta  │    22 │            the a | b second
gamma │       │

"""
    )
    assert "│ the first letter of the\n" in shown([TABLE], 40).text
    narrow = shown([TABLE], 20).text
    assert narrow.startswith("Name: alpha\nValue: 1.5\nMeaning: the first\n  letter of the\n")
    assert words(narrow)[-2:] == ["Name", "gamma"]


def test_a_table_longer_than_the_window_is_settled():
    rows = [f"| {i} | {'word ' * (i % 30)}|\n" for i in range(60)]
    table = ["| n | words |\n", "|--:|---|\n", *rows, "| 60 | one | too many |\n"]
    whole = shown(table, 60, height=24)
    assert whole.rows == shown(list("".join(table)), 60, height=24).rows
    assert words(whole.text)[-4:] == ["words", "one", "too", "many"]
    assert words(whole.text).count("word") == sum(i % 30 for i in range(60))


@pytest.mark.parametrize("to", [30, 40, 90])
def test_a_window_that_changes_its_width(to):
    long = "- " + " ".join(f"**word{i}**" for i in range(80)) + " end\n"
    code = "```c\n" + "int i = 0; " * 30 + "\n```\n"
    text = shown(tokens(long), 60, resized=to).text
    assert re.findall(r"\w+", text) == [f"word{i}" for i in range(80)] + ["end"]
    assert max(map(len, text.splitlines()[-5:])) <= to
    assert max(map(len, text.splitlines())) > to - 12
    assert shown(list(code), 60, resized=to).text == "c\n" + "int i = 0; " * 29 + "int i = 0;\n\n"
    table = shown(list(TABLE * 2), 60, resized=to).text
    assert set(words(table)) >= set(words(TABLE))


def test_only_what_changes_is_drawn_again():
    """Sequences that go back are rare, and go back no further than the line that is written."""
    out, rendered, terminal = StringIO(), Markdown(), Terminal(60)
    screen, window = Screen(out), Window(60, 50)
    n_written = 0
    for piece in tokens(DOCUMENT.partition("```")[0]):
        before = terminal.text.splitlines()[:-3]
        rendered.push(piece)
        screen.show(*rendered.rows(window), window)
        n_written += len(out.getvalue())
        terminal.feed(out.getvalue())
        out.truncate(0), out.seek(0)
        assert terminal.text.splitlines()[: len(before)] == before
    assert n_written < 2.5 * len(DOCUMENT.partition("```")[0])


@pytest.mark.parametrize("language", ["c", "python", "html", "console", "none-such", ""])
def test_code_keeps_its_text(language):
    code = 'if (a < b) {\n\n\t  x[\'é\'] = "日本"; /* a\n   comment */ """\n\t}\n'
    listed = re.sub(r"(?m)^(?=.)", "   ", code)
    for text in (f"```{language}\n{code}```\n", f"1. so:\n   ~~~ {language}\n{listed}   ~~~\n"):
        assert shown(list(text), 60).text.endswith(f"{language}\n{code}\n".lstrip("\n"))


def test_marks_may_span_lines_of_a_paragraph():
    text = "- a **bold\n  text** and *not\n\n*it\nis*\n> `x\n> y`, ![open\n# *head\nend*\n===\n"
    assert shown(list(text), 60).text == (
        "• a bold\n  text and *not\n\nit\nis\n│ x y, ![open\n\n*head\nend*\n" + "─" * 60 + "\n\n"
    )
    many = "*a\n" * 20
    assert shown(list(many), 60).text == f"{many}\n"


def test_styles():
    rows = shown(["**a** *b* `c` ~~d~~ [e](f)\n# g\n```py\nif\n```"], 60).rows
    styles = {c: style for row in rows for c, style in row if c.strip()}
    wanted = {"a": "1", "b": "3", "c": "36", "d": "9", "e": "4", "g": "1;4", "i": "35", "p": "2"}
    assert {c: styles[c] for c in wanted} == wanted
    assert {style for row in rows for _, style in row} >= {"", *wanted.values()}


def test_an_open_mark_counts_as_closed():
    bold = [("1", c) for c in "bold"]
    for text in ("**bold", "**bold*", "**bold**", "**bold** `", "x **bold", "_x_ **bold `co"):
        rendered = Markdown()
        rendered.push(text)
        _, rows = rendered.rows(Window(60, 24))
        cells = [(style, c) for row in rows for c, style in row]
        assert bold == [cell for cell in cells if cell[1] in "bold" and cell[0] == "1"]
        assert "*" not in text_of(rows[0])


@pytest.mark.parametrize("text", ["2*3*4", "x**2 + y**2", "f(*args, **kw)", "a * b*c*d", "α*β*γ"])
def test_asterisks_of_arithmetic_are_no_marks(text):
    assert text_of(inline(text)) == text


def test_letters_within_a_word_may_be_bold():
    for text, marked in (("**N**ew **L**ine", "NL"), ("日**太字**本", "太字"), ("**a*b**", "a*b")):
        assert "".join(c for c, style in inline(text) if style == "1") == marked


def test_text_is_wrapped_without_an_escape():
    terminal = shown(list(DOCUMENT), 20, lines=Lines)
    assert re.sub(r"\s", "", terminal.text) == re.sub(r"\s", "", DOCUMENT)
    assert "**bold text**" in terminal.text.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("one two  three", ["one two", "three"]),
        ("  indented text", ["  indented", "text"]),
        ("a unbreakableword b", ["a", "unbreakableword", "b"]),
        ("日本語の、文字", ["日本語の、", "文字"]),
        ("한국어는 띄어쓰기", ["한국어는", "띄어쓰기"]),
        ("x" * 10 + ".", ["x" * 10 + "."]),
    ],
)
def test_wrapping(text, rows):
    assert [text_of(row) for row in wrap(cells_of(text), 10)] == rows
