"""Tools, calls and results in a prompt: as chat templates have them, or as text; never as marks."""

from __future__ import annotations

import json

import pytest
from chats import CHATML_MARKS, rendered
from replies import TOOLS, vocabulary

from qrt.errors import InputError
from qrt.replies import with_tools
from qrt.text import ChatTemplate
from qrt.text.templates import CHATML, GEMMA

MARKS = (*CHATML_MARKS, "<tool_call>", "</tool_call>", "[INST]")
HERMES = """\
{%- if tools %}{{ '<|im_start|>system\\n' }}{% for tool in tools %}{{ tool | tojson ~ '\\n' }}
{%- endfor %}{{ '<|im_end|>\\n' }}{% endif -%}
{%- for m in messages -%}
{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}
{%- for call in m.tool_calls or [] -%}
{{ '<tool_call>' + call.function.name + call.function.arguments|tojson + (call.id or '') }}
{{- '</tool_call>' }}
{%- endfor -%}
{{ (m.tool_call_id or '') + (m.name or '') + '<|im_end|>\\n' }}
{%- endfor -%}"""
CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": '{"a": 1}'}}
CONVERSATION = [
    {"role": "user", "content": "When?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "audio": None},
    {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "noon"}]},
]


def spiked(value, mark):
    """`value` with a mark in each of its strings but roles."""
    if isinstance(value, str):
        return value + mark
    if isinstance(value, list):
        return [spiked(item, mark) for item in value]
    if isinstance(value, dict):
        kept = ("role", "type")
        return {k + "": v if k in kept else spiked(v, mark) for k, v in value.items()}
    return value


def spike_call(message, mark):
    calls = message.get("tool_calls")
    if not calls:
        return message
    function = {"name": "now" + mark, "arguments": json.dumps({"a" + mark: ["b" + mark]})}
    return {**message, "tool_calls": [{"id": "1" + mark, "function": function}]}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("source", [HERMES, CHATML])
def test_no_string_of_a_client_becomes_a_mark(source, mark):
    tokenizer = vocabulary(control=MARKS)
    template = ChatTemplate(source, tokenizer)

    def marks(messages, tools):
        given, variables = with_tools(source, messages, tools)
        tokens = template.tokens(given, variables)
        return [token for token in tokens if tokenizer.is_control(token)], tokens

    hostile = [spike_call(spiked(m, mark), mark) for m in CONVERSATION]
    tools = spiked(TOOLS, mark)
    found, tokens = marks(hostile, tools)
    assert found == marks(CONVERSATION, TOOLS)[0]
    assert tokenizer.detokenize(tokens, special=True).count(mark) > found.count(
        tokenizer.find(mark)
    )


def test_a_template_without_tools_has_them_as_text():
    messages, variables = with_tools(CHATML, CONVERSATION, TOOLS)
    template = ChatTemplate(CHATML, vocabulary(*CHATML_MARKS))
    text = rendered(template, messages, variables)
    assert variables == {}
    assert text.startswith("<|im_start|>system\n")
    assert '"name": "get_weather", "description": "The weather somewhere."' in text
    assert '<tool_call>\n{"name": "now", "arguments": {"a": 1}}\n</tool_call>' in text
    assert "<|im_start|>user\n<tool_response>\nnoon\n</tool_response><|im_end|>" in text
    told, _ = with_tools(GEMMA, [{"role": "system", "content": "Be brief."}, *CONVERSATION], TOOLS)
    assert told[0]["content"].endswith("\n\nBe brief.")
    assert [m["role"] for m in told] == ["system", "user", "assistant", "user"]


def test_results_in_a_row_are_one_message():
    results = [*CONVERSATION, {"role": "tool", "content": "two"}]
    told, _ = with_tools(CHATML, results, [])
    assert [m["role"] for m in told] == ["user", "assistant", "user"]
    assert told[-1] == {
        "role": "user",
        "content": "<tool_response>\nnoon\n</tool_response>\n"
        "<tool_response>\ntwo\n</tool_response>",
    }


def test_a_template_that_demands_ids_gets_them():
    source = (
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{% if not c.id %}{{ raise_exception('id') }}{% endif %}{{ c.id }} {% endfor %}"
        "{{ m.tool_call_id }} {% endfor %}"
    )
    template = ChatTemplate(source, vocabulary())
    calls = [{"id": None, "function": {"name": "now", "arguments": {}}}] * 2
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        *[{"role": "tool", "content": "b"}] * 2,
    ]
    assert rendered(template, messages).split() == ["call00001", "call00002"] * 2


def test_a_template_that_has_results_in_the_message_that_called():
    source = (
        "{% for m in messages %}{{ m.role }}{% for r in m.tool_responses or [] %}"
        " {{ r.name }}={{ r.response }}{% endfor %};{% endfor %}"
    )
    template = ChatTemplate(source, vocabulary())
    assert rendered(template, CONVERSATION) == "user;assistant now=noon;"


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        (["now"], r"tools\[0\] is 'now'; expected"),
        ([{"type": "function"}], "name None"),
        ([{"function": {"name": ""}}], "name ''"),
        ([{"name": "a", "parameters": [1]}], "no JSON schema"),
    ],
)
def test_malformed_tools(tools, message):
    with pytest.raises(InputError, match=message):
        with_tools(HERMES, CONVERSATION, tools)
