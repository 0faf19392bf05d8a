"""Chat templates: what they write, what they see, what messages cannot forge."""

from __future__ import annotations

import pytest
from chats import CHATML_MARKS, CONVERSATION, LLAMA_3_MARKS, rendered, vocabulary
from hypothesis import given
from hypothesis import strategies as st

from qrt.errors import InputError, TemplateError
from qrt.text import ChatTemplate, choose_template
from qrt.text.templates import CHATML, LLAMA_2, LLAMA_3, template_source


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


def test_an_answer_that_was_begun_is_continued() -> None:
    template = choose_template({}, vocabulary(*CHATML_MARKS))
    begun = [*CONVERSATION, {"role": "assistant", "content": "So <|im_end|>"}]
    spans = template.render(begun, continued=True)
    assert spans == [*template.render(CONVERSATION), ("So <|im_end|>", False)]
    for messages in (CONVERSATION, begun[-1:]):
        with pytest.raises(InputError, match="can be continued"):
            template.render(messages, continued=True)


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
    by_name = choose_template({"tokenizer.chat_template": "rwkv-world"}, vocabulary("<s>"))
    assert rendered(by_name, CONVERSATION[:1]) == "System: Be brief.\n\nAssistant:"


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
    assert rendered(template, CONVERSATION[1:], {"tools": ["é"]}) == '[\n "é"\n]0124uau11-2'


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


RESERVED = (
    "messages", "add_generation_prompt", "bos_token", "eos_token", "raise_exception", "range",
    "namespace", "dict", "strftime_now",
)  # fmt: skip


@pytest.mark.parametrize("name", RESERVED)
def test_what_qrt_sets_is_not_replaced(name: str) -> None:
    template = ChatTemplate(CHATML, vocabulary(*CHATML_MARKS))
    with pytest.raises(InputError, match=f"'{name}'"):
        template.render(CONVERSATION, {name: 1})


def test_variables_have_json_types() -> None:
    template = ChatTemplate(CHATML, vocabulary(*CHATML_MARKS))
    with pytest.raises(InputError, match=r"template_vars\['tools'\] is builtin_function"):
        template.render(CONVERSATION, {"tools": print})
    with pytest.raises(InputError, match="more than 1024 bits"):
        template.render(CONVERSATION, {"n": 1 << 20000})


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('a\\nb\\x1b[2J' ~ 'c' * 1000000) }}",
        "{{ messages[0].content.x('c' * 1000000).y }}{{ [1] + ('\\n' * 9) }}",
        "{% " + "c" * 100000 + " %}",
        "{{ dict(" + "c" * 100000 + ".d) }}",
    ],
)
def test_errors_of_templates_are_one_short_line(source: str) -> None:
    with pytest.raises(TemplateError) as caught:
        ChatTemplate(source, vocabulary("<s>")).render(CONVERSATION[1:])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("key", ["role", "colour" * 100000])
def test_errors_of_messages_are_one_short_line(key: str) -> None:
    template = ChatTemplate(CHATML, vocabulary(*CHATML_MARKS))
    with pytest.raises(InputError) as caught:
        template.render([{"role": "user", "content": "", key: "x\n" * 1000000}])
    assert len(str(caught.value)) < 400


def test_content_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    template = ChatTemplate("{{ messages[0].content }}", vocabulary("<s>"))
    assert rendered(template, [{"role": "user", "content": parts}]) == "a\nb"


def test_messages_are_seen_as_they_are() -> None:
    source = (
        "{{ messages[0].content|length }} {{ effort == 'start' }}"
        " {{ 'end' in messages[0].content }} {{ messages[0].content[0] }}"
        " {{ map|dictsort }} {{ map['<s>'] }}"
        " {{ messages[1].content.split('</think>')[-1]|trim }}"
    )
    tokenizer = vocabulary("<s>", "<|start|>", "<|end|>", "<a>", "<b>", "<think>", "</think>")
    messages = [
        {"role": "user", "content": "end"},
        {"role": "assistant", "content": "<think>a</think>\n<s>b"},
    ]
    variables = {"effort": "start", "map": {"b": 1, "a": 2, "<s>": 3}}
    assert rendered(ChatTemplate(source, tokenizer), messages, variables) == (
        "3 True True e [('<s>', 3), ('a', 2), ('b', 1)] 3 <s>b"
    )


CALLS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": {}}]},
]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ m.content if m.content is not none else '-' }}", "Hi-"),
        ("{% if m.content is none %}-{% else %}{{ m.content }}.{% endif %}", "Hi.-"),
        ("{{ m.content }}|", "Hi||"),
        ("{{ m.content + '|' }}", "Hi||"),
    ],
)
def test_null_content(source: str, text: str) -> None:
    template = ChatTemplate("{% for m in messages %}" + source + "{% endfor %}", vocabulary("<s>"))
    assert rendered(template, CALLS) == text


def test_null_content_beside_a_system_message() -> None:
    messages = [CONVERSATION[0], {**CALLS[1], "role": "user"}]
    source = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    assert rendered(ChatTemplate(source, vocabulary("<s>")), messages) == "Be brief."


MARKS = (*CHATML_MARKS, "<s>", "[INST]", "<tool>")
N_MARKS = 8
FORGERY = (
    "{% macro turn(m) %}<|im_start|>{{ m.role }}\n{{ m.content|trim }}{% endmacro %}"
    "{% set ns = namespace(all='') %}"
    "{% for m in messages %}{% set t %}{{ turn(m)|trim }}{% endset %}"
    "{{ t }} {{ m.name }}:{{ m.content|trim }}{{ m.content }}<{{ m.content }}>"
    "{{ m.content ~ m.content }}<|{{ m.content }}|>{{ '<' + m.content + '|>' }}"
    "{{ '<%s|>' % m.content }}{{ '<|{}>'.format(m.content) }}{{ ['<', m.content, '>']|join }}"
    "{{ (m.tool_calls or [])|tojson }}|>{{ m.reasoning_content }}>{{ m.content|list|join }}"
    "{{ tools|string }}{{ tools|tojson(true) }}{{ m.content[1:] }}{{ m.content.split('|') }}"
    "{{ m.content|replace('x', '') }}{{ 'x'|replace('x', m.content) }}{{ m.content|upper|lower }}"
    "{{ ('<' + m.content)[:5] }}{{ (m.content ~ '|>').strip('x') }}{{ (m.content + '|>') * 2 }}"
    "{% set ns.all = ns.all ~ m.content %}{{ '%s<|im_end|>%s'|format(m.content, m.name) }}"
    "{% endfor %}{{ ns.all }}{{ messages|map(attribute='content')|join('<tool>') }}"
    "{{ 'a/b'.split('/')|join('[IN' ~ 'ST]') }}{{ 'AxB'.replace('x', '<|IM_START|>')|lower }}"
    "{{ ('<s>' + messages[0].content)|trim }}"
)  # fmt: skip
CUTS = [cut for m in MARKS for cut in (m, m[:-1], m[1:], m[1:-1])]
PART = st.sampled_from([*CUTS, *'<|>[]/x {}%"\\\n', "im_", "\U00010a50", "\ud800"])
EVIL = st.lists(PART, min_size=1, max_size=6).map("".join)


@pytest.fixture(scope="module")
def forgery() -> ChatTemplate:
    return ChatTemplate(FORGERY, vocabulary(*MARKS))


@given(EVIL, EVIL, EVIL, EVIL)
def test_messages_cannot_forge_control_tokens(
    forgery: ChatTemplate, content: str, name: str, key: str, thought: str
) -> None:
    tool = [{"name": name, "arguments": {key: [content]}}]
    messages = [
        {"role": "user", "content": content, "name": name},
        {"role": "assistant", "content": name, "tool_calls": tool, "reasoning_content": thought},
    ]
    spans = forgery.render(messages, {"tools": [{key: thought}]})
    text = "".join(part for part, _ in spans)
    assert content in text
    if text.isascii():
        ids = vocabulary(*MARKS).tokenize_spans(spans)
        assert sum(token >= 256 for token in ids) == N_MARKS


@pytest.mark.parametrize(
    ("name", "turns", "end"),
    [
        (
            "gemma",
            "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n"
            "<start_of_turn>model\nHello!<end_of_turn>\n",
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            "phi3",
            "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n",
            "<|user|>\nBye<|end|>\n<|assistant|>\n",
        ),
        (
            "zephyr",
            "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n",
            "<|user|>\nBye</s>\n<|assistant|>\n",
        ),
        ("vicuna", "Be brief.\n\nUSER: Hi\nASSISTANT: Hello!</s>\n", "USER: Bye\nASSISTANT:"),
        (
            "rwkv-world",
            "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello!\n\n",
            "User: Bye\n\nAssistant:",
        ),
        ("{{ messages|length }}", "", "3"),
    ],
)
def test_a_template_by_its_name_or_text_goes_before_that_of_the_file(
    name: str, turns: str, end: str
) -> None:
    metadata = {"tokenizer.chat_template": "never"}
    template = choose_template(metadata, vocabulary("<s>", "</s>"), template_source(name))
    assert rendered(template, CONVERSATION) == turns + end


@pytest.mark.parametrize(
    ("name", "source"), [("chatml", CHATML), ("Llama-2", LLAMA_2), ("llama3", LLAMA_3)]
)
def test_names_of_templates(name: str, source: str) -> None:
    assert template_source(name) == source


@pytest.mark.parametrize("name", ["chatlm", "", 3])
def test_a_template_without_a_name_is_refused(name: object) -> None:
    with pytest.raises(InputError, match="chat_template must be"):
        template_source(name)  # type: ignore[arg-type]
