"""The sandbox of chat templates: what they may do, and what stops them."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import jinja2
import pytest

from qrt.errors import TemplateError
from qrt.text.chat_limits import Limits
from qrt.text.chat_sandbox import CompiledTemplate


def render(source: str, **variables: object) -> str:
    return CompiledTemplate(source, Limits()).render(variables)


BOMBS = {
    "repeat": "{{ 'a' * 10**9 }}",
    "repeat list": "{{ [0] * 10**9 }}",
    "power": "{{ 2 ** 1000000000 }}",
    "loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "output": "{% for i in range(100000) %}{% for j in range(99) %}0123456{% endfor %}{% endfor %}",
    "captured": "{% set x %}{% for i in range(100000) %}" + "x" * 9999 + "{% endfor %}{% endset %}",
    "join": "{{ ('a' * 1000000).join(range(100000)|map('string')) }}",
    "join filter": "{{ range(100000)|join('a' * 100000) }}",
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "recursion in a tree": "{% macro f(x) %}{% if x %}{{ f(x-1) }}{{ f(x-1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "recursive loop": "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "wide field": "{{ '%1000000000d' % 1 }}",
    "wide field by star": "{{ '%*d' % (1000000000, 1) }}",
    "wide format": "{{ '{:1000000000}'.format(1) }}",
    "nested format": "{{ '{:{}}'.format(1, 1000000000) }}",
    "many fields": "{{ ('{0}' * 100000).format('a' * 100000) }}",
    "center": "{{ 'a'|center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "expandtabs": "{{ '\t'.expandtabs(10**9) }}",
    "replace": "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
    "replace nothing": "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}",
    "indent": "{{ ('\n' * 100000)|indent(100000) }}",
    "json indent": "{{ [[1]]|tojson(indent=10**9) }}",
    "json indent by text": "{{ range(2000)|list|tojson(indent='a'*500000) }}",
    "json separators": "{{ range(2000)|list|tojson(separators=(',', 'a'*500000)) }}",
    "json separators by place": "{{ range(9)|list|tojson(false, none, ['a'*5000000, ':']) }}",
    "round": "{{ 1.5|round(10**8, 'ceil') }}",
    "round down": "{{ 5|round(-1000000000) }}",
    "round each": "{{ [5]|map('round', -1000000000)|list }}",
    "round by name": "{{ 5|round(precision=-1000000000) }}",
    "backwards search": "{{ ('a' * 4000000).rfind('ab' + 'a' * 2000000) }}",
    "doubling": "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "shared parts": "{% set n = namespace(x=1) %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "shared parts by call": "{% set n = namespace(x=1) %}{% for i in range(99) %}"
    "{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x|tojson }}",
    "kept": "".join(f"{{% set a{i} = 'a' * 4000000 %}}" for i in range(300)),
    "slices": "{% set s = 'a' * 4000000 %}{{ [" + "s[1:]," * 499 + "] }}",
    "parentheses": "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
    "blocks": "{% if 1 %}" * 4999 + "{% endif %}" * 4999,
    "long source": "x" * (1 << 17) + "y",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_defused(source: str) -> None:
    start = time.monotonic()
    with pytest.raises(TemplateError):
        CompiledTemplate(source, Limits(seconds=0.3)).render({})
    assert time.monotonic() - start < 1.0


ESCAPES = (
    "''.__class__", "''['__class__']", "''|attr('__class__')", "x.__class__.__mro__",
    "x|map(attribute='__class__')|first", "'{0.__class__}'.format(1)", "'%s'.__mod__",
    "'{0[a].__class__}'.format({'a': 1})", "'{0.__class__}'.format_map({'0': 1})",
    "''.format.__globals__", "''.format.__wrapped__", "''.join.__self__", "range.__init__",
    "namespace.__init__.__globals__", "namespace()._Namespace__attrs", "dict.__globals__",
    "dict.mro()", "raise_exception.__globals__", "strftime_now.__code__", "self.__class__",
    "self._TemplateReference__context", "cycler.__init__", "joiner", "lipsum.__globals__",
    "x.append(1)", "x[0].update(a=1)", "x[0].pop('a')", "x[0].keys().mapping", "(1).to_bytes(9)",
    "(1.5).hex()", "'a'.encode()", "none.__class__", "y.__class__", "environment", "context",
    "budget", "x.sort()", "x|map('attr', '__class__')|list", "x|sum(start=[])", "x|pprint",
    "(x|map('string')).gi_frame", "loop.__class__", "x|urlize", "x.__iter__().__next__()",
    "'a'.own", "'{0.own}'.format('a')", "'a'.strip.__func__", "'a'.join.__func__.__globals__",
    "'a'.replace.__code__", "(x|string).split.__closure__",
)  # fmt: skip
REFUSAL = re.compile(
    r"access to attribute '\w+' of '\w+' object is unsafe\."
    r"|No filter named '(attr|sum|pprint|urlize)'\."
    r"|'(lipsum|function object)' (is undefined|has no attribute 'mro')"
)


@pytest.mark.parametrize("probe", ESCAPES)
def test_no_way_out_of_the_sandbox(probe: str) -> None:
    try:
        text = render("{% for _ in [1] %}{{ " + probe + " }}{% endfor %}", x=[{"a": 1}])
    except TemplateError as error:
        text = "" if REFUSAL.search(str(error)) else str(error)
    assert text == ""


def test_one_bad_template_does_not_spoil_the_next() -> None:
    good = CompiledTemplate("{{ x }}{% for i in x %}{{ i }}{% endfor %}", Limits())
    with pytest.raises(TemplateError, match="too large"):
        render("{{ 'a' * 10**9 }}")
    assert good.render({"x": [1]}) == "[1]1"
    assert good.render({"x": "ab"}) == "ababab"[:4]


@pytest.mark.parametrize(
    "source",
    [
        "{% set s = ':' * 200000 %}{{ s % 1 }}",
        "{% set s = ':' * 200000 %}{{ s|format(1) }}",
        "{% set s = ':' * 200000 %}{{ s.format(1)|length }}",
        "{% set s = '%(' * 200000 %}{{ s % {'a': 1} }}",
        "{% set s = '%' * 400000 %}{{ (s % ())|length }}",
    ],
)
def test_patterns_are_read_once(source: str) -> None:
    start = time.monotonic()
    with suppress(TemplateError):
        render(source)
    assert time.monotonic() - start < 0.5


def test_formats_of_ordinary_width() -> None:
    source = (
        "{{ '**%s** in 2024: %5.1f%%' % (1, 2) }}|{{ '*{:>3}* {a} {} 2024'.format(1, 2, a=3) }}"
    )
    assert render(source) == "**1** in 2024:   2.0%|*  1* 3 2 2024"


def test_errors_say_what_and_where() -> None:
    with pytest.raises(TemplateError, match="line 2: Encountered unknown tag 'nonsense'"):
        CompiledTemplate("\n{% nonsense %}", Limits())
    with pytest.raises(TemplateError, match="refuses: roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(TemplateError, match="'dict object' has no attribute"):
        render("{{ x.y.z }}", x={})


def test_old_jinja_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja2, "__version__", "3.1.5")
    with pytest.raises(TemplateError, match=r"3\.1\.6"):
        CompiledTemplate("x", Limits())
