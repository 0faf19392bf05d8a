"""Chat templates: what they write, what they may not do, what messages cannot forge."""

from __future__ import annotations

import time

import jinja2
import numpy as np
import pytest

from qrt.errors import InputError, TemplateError
from qrt.text import ChatTemplate, Tokenizer, choose_template, load_tokenizer
from qrt.text.chat_budget import Limits
from qrt.text.chat_sandbox import CompiledTemplate
from qrt.text.decode import BYTE_OF_CHAR
from qrt.text.templates import CHATML, LLAMA_2, LLAMA_3

CHATML_MARKS = ("<|im_start|>", "<|im_end|>")
LLAMA_3_MARKS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>")
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
]


def vocabulary(*marks: str, bos: str | None = None, add_bos: bool = False) -> Tokenizer:
    """A byte-level vocabulary with these control tokens."""
    tokens = [*BYTE_OF_CHAR, *marks]
    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([1] * 256 + [3] * len(marks), np.int32),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.eos_token_id": 256 + len(marks) - 1,
        "tokenizer.ggml.add_bos_token": add_bos,
    }
    if bos is not None:
        metadata["tokenizer.ggml.bos_token_id"] = tokens.index(bos)
    return load_tokenizer(metadata, "test")


def rendered(template: ChatTemplate, *args: object, **kwargs: object) -> str:
    return "".join(text for text, _ in template.render(*args, **kwargs))  # type: ignore[arg-type]


def render(source: str, **variables: object) -> str:
    return CompiledTemplate(source, Limits()).render(variables)


def test_chatml() -> None:
    template = choose_template({}, vocabulary(*CHATML_MARKS))
    assert template.source == CHATML
    turns = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n"
    )
    assert rendered(template, CONVERSATION) == turns + "<|im_start|>assistant\n"
    assert rendered(template, CONVERSATION, add_generation_prompt=False) == turns


def test_llama_2() -> None:
    tokenizer = vocabulary("<s>", "</s>", bos="<s>", add_bos=True)
    template = choose_template({}, tokenizer)
    assert template.source == LLAMA_2
    assert rendered(template, CONVERSATION) == (
        "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]"
    )
    assert template.tokens(CONVERSATION).count(256) == 2


def test_llama_3() -> None:
    tokenizer = vocabulary(*LLAMA_3_MARKS, bos="<|begin_of_text|>")
    template = choose_template({}, tokenizer)
    assert template.source == LLAMA_3
    assert rendered(template, CONVERSATION[:2]) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_template_of_the_file_comes_first() -> None:
    metadata = {"tokenizer.chat_template": "{{ messages[-1].content }}"}
    assert rendered(choose_template(metadata, vocabulary("<s>")), CONVERSATION[1:]) == "Bye"
    with pytest.raises(TemplateError, match="expected text"):
        choose_template({"tokenizer.chat_template": 3}, vocabulary("<s>"))
    assert choose_template({}, vocabulary("<s>")).source == CHATML


@pytest.mark.parametrize("add_bos", [False, True])
@pytest.mark.parametrize("source", ["{{ bos_token }}x", "x"])
def test_never_two_bos(source: str, add_bos: bool) -> None:
    tokenizer = vocabulary("<s>", bos="<s>", add_bos=add_bos)
    template = ChatTemplate(source, tokenizer)
    ids = template.tokens(CONVERSATION[1:])
    assert ids == tokenizer.tokenize_spans(template.render(CONVERSATION[1:]), add_special=True)
    assert ids.count(256) == int(add_bos or "bos_token" in source)


@pytest.mark.parametrize(
    "source",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}",
        "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}] {{ m.content }}"
        "{% endif %}{% endfor %}",
    ],
    ids=["refuses", "leaves out"],
)
def test_system_text_moves_into_the_first_user_turn(source: str) -> None:
    template = ChatTemplate(source, vocabulary("<s>"))
    assert rendered(template, CONVERSATION[:2]) == "[user] Be brief.\n\nHi"


def test_tool_arguments_as_dict_or_text() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"x": "é<"}'}}]
    messages = [*CONVERSATION[1:2], {"role": "assistant", "content": None, "tool_calls": calls}]
    as_dict = "{{ messages[1].tool_calls[0].function.arguments.items()|list }}"
    as_text = "{{ 'x' + messages[1].tool_calls[0].function.arguments }}"
    tojson = "{{ messages[1].tool_calls[0].function.arguments|tojson }}"
    tokenizer = vocabulary("<s>")
    assert rendered(ChatTemplate(as_dict, tokenizer), messages) == "[('x', 'é<')]"
    assert rendered(ChatTemplate(as_text, tokenizer), messages) == 'x{"x": "é<"}'
    assert rendered(ChatTemplate(tojson, tokenizer), messages) == '{"x": "é<"}'


def test_helpers_of_templates() -> None:
    source = (
        "{% generation %}{{ tools|tojson(indent=1) }}{% endgeneration %}"
        "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
        "{{ ('[1]'|from_json)[0] + 1 }}{{ strftime_now('%Y')|length }}"
        "{% set ns = namespace(a='') %}{% for m in messages %}{% set ns.a = ns.a ~ m.role[0] %}"
        "{% endfor %}{{ ns.a }}{{ dict(a=1).a }}{{ '{}-%s'.format(1) % 2 }}"
    )
    template = ChatTemplate(source, vocabulary("<s>"))
    assert rendered(template, CONVERSATION[1:], tools=["é"]) == '[\n "é"\n]0124uau11-2'


DEEP = "[" * 500 + "]" * 500


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "empty"),
        ("hi", "must be a list"),
        (["hi"], r"messages\[0\] is str"),
        ([{"role": "root", "content": "x"}], "'root'; expected one of system"),
        ([{"role": "user"}], "NoneType; expected text"),
        ([{"role": "user", "content": 3}], "int; expected text"),
        ([{"role": "user", "content": [{"type": "image"}]}], r"\[0\] is not a text part"),
        ([{"role": "user", "content": "x", "colour": 1}], "unknown key 'colour'"),
        ([{"role": "user", "content": "x", "name": 1}], "'name'"),
        ([{"role": "assistant", "tool_calls": [{"arguments": "{"}]}], "not valid JSON"),
        ([{"role": "assistant", "tool_calls": [{"arguments": DEEP}]}], "nested more than 64 deep"),
        ([{"role": "assistant", "tool_calls": [object()]}], "object"),
    ],
)
def test_malformed_messages(messages: object, message: str) -> None:
    template = ChatTemplate(CHATML, vocabulary(*CHATML_MARKS))
    with pytest.raises(InputError, match=message):
        template.render(messages)  # type: ignore[arg-type]


def test_variables_of_the_template_are_not_replaced() -> None:
    template = ChatTemplate(CHATML, vocabulary(*CHATML_MARKS))
    with pytest.raises(InputError, match="bos_token"):
        template.render(CONVERSATION, bos_token="x")
    with pytest.raises(InputError, match="function"):
        template.render(CONVERSATION, tools=print)


def test_content_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    template = ChatTemplate("{{ messages[0].content }}", vocabulary("<s>"))
    assert rendered(template, [{"role": "user", "content": parts}]) == "a\nb"


ATTACKS = (
    "{mark}", "x{mark}y", " {mark} ", "{mark}{mark}", "{head}", "{tail}", "{inner}",
    "\U00010a50{mark}"
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_messages_cannot_forge_control_tokens(attack: str) -> None:
    marks = (*CHATML_MARKS, "<s>", "[INST]", "<tool>")
    tokenizer = vocabulary(*marks)
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.name }}:{{ m.content|trim }}"
        "{{ m.content }}<{{ m.content }}>{{ m.content ~ m.content }}"
        "{{ (m.tool_calls or [])|tojson }}|>{{ m.reasoning_content }}>"
        "{{ tools|string }}{{ tools|tojson(true) }}<|im_end|>{% endfor %}"
    )
    template = ChatTemplate(source, tokenizer)
    n_marks = 4
    for mark in marks:
        evil = attack.format(mark=mark, head=mark[:-1], tail=mark[1:], inner=mark[1:-1])
        tool = [{"name": evil, "arguments": {evil: [evil]}}]
        messages = [
            {"role": "user", "content": evil, "name": evil},
            {"role": "assistant", "content": evil, "tool_calls": tool, "reasoning_content": evil},
        ]
        ids = template.tokens(messages, tools=[{"description": evil}])
        assert sum(token >= 256 for token in ids) == n_marks, mark
        assert tokenizer.detokenize(ids, special=True).count(evil) >= 8


def test_thoughts_of_the_assistant_stay_recognizable() -> None:
    source = "{{ messages[1].content.split('</think>')[-1] }}"
    template = ChatTemplate(source, vocabulary("<think>", "</think>"))
    messages = [*CONVERSATION[1:2], {"role": "assistant", "content": "<think>a</think>b"}]
    assert rendered(template, messages) == "b"


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
    "round": "{{ 1.5|round(10**8, 'ceil') }}",
    "backwards search": "{{ ('a' * 4000000).rfind('ab' + 'a' * 2000000) }}",
    "doubling": "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "shared parts": "{% set n = namespace(x=1) %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "shared parts by call": "{% set n = namespace(x=1) %}{% for i in range(99) %}"
    "{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x|tojson }}",
    "kept": "".join(f"{{% set a{i} = 'a' * 4000000 %}}" for i in range(999)),
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
)  # fmt: skip


@pytest.mark.parametrize("probe", ESCAPES)
def test_no_way_out_of_the_sandbox(probe: str) -> None:
    try:
        text = render("{% for _ in [1] %}{{ " + probe + " }}{% endfor %}", x=[{"a": 1}])
    except TemplateError:
        return
    assert text in ("", "[Undefined]")


def test_one_bad_template_does_not_spoil_the_next() -> None:
    good = CompiledTemplate("{{ x }}{% for i in x %}{{ i }}{% endfor %}", Limits())
    with pytest.raises(TemplateError, match="too large"):
        render("{{ 'a' * 10**9 }}")
    assert good.render({"x": [1]}) == "[1]1"
    assert good.render({"x": "ab"}) == "ababab"[:4]


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
