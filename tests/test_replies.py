"""What a reply consists of, told from its tokens: text, thoughts, and calls of every family."""

from __future__ import annotations

import gc
import json
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replies import cut, records_of, summary, told, vocabulary
from reply_cases import CASES, HERMES_CALL, NAMES, TEMPLATES

from qrt.replies.forms import FORMS, family_of
from qrt.replies.thoughts import MARKS
from qrt.replies.written import WRITTEN
from qrt.runtime.records import TokenRecord


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_calls_are_told_from_text_and_thoughts(case):
    tokenizer = vocabulary(case.control, case.shown)
    template = TEMPLATES[case.family]
    assert family_of(tokenizer, template) == case.family
    records = records_of(tokenizer, case.reply)
    events = told(tokenizer, template, records)
    assert summary(events) == case.parts
    for kind, *call_parts in case.parts:
        if kind == "call":
            json.loads(call_parts[1])


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_reply_is_the_same_however_it_is_cut(case):
    """Marks are text here, where each may be cut in the middle."""
    plain = vocabulary()
    rng = random.Random(case.reply)
    whole = told(plain, TEMPLATES[case.family], cut(case.reply, []))
    assert summary(whole) == case.parts
    for n in (1, 3, 9, len(case.reply)):
        records = cut(case.reply, [rng.randrange(len(case.reply)) for _ in range(n)])
        assert told(plain, TEMPLATES[case.family], records) == whole
    assert told(plain, TEMPLATES[case.family], cut(case.reply, range(len(case.reply)))) == whole


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_reply_may_break_off_anywhere(case):
    tokenizer = vocabulary(case.control, case.shown)
    records = records_of(tokenizer, case.reply)
    calls = [part for part in case.parts if part[0] == "call"]
    for n in range(len(records)):
        parts = summary(told(tokenizer, TEMPLATES[case.family], records[:n]))
        found = [part for part in parts if part[0] in ("call", "cut")]
        assert all(part[0] == "call" for part in found[:-1])
        for (_, name, arguments, _), (_, whole_name, whole_arguments, _) in zip(
            found, calls, strict=False
        ):
            assert name == whole_name
            before = re.sub(r"[<`][^<`]*$", "", arguments)  # the start of a mark
            assert whole_arguments.startswith(before.rstrip('}"\\n'))


SOUP = (
    *(
        "<tool_call>",
        "</tool_call>",
        "<function=",
        "now",
        "get_weather",
        ">",
        "<parameter=",
        "city",
    ),
    *("</parameter>", "</function>", "{", "}", '"name"', ": ", '"arguments"', "{}", '"', "\\", ","),
    *("[TOOL_CALLS]", "[ARGS]", "[", "]", "```json", "```", "\n", " ", "a", "é", "(", ")", "="),
    *(
        '<|"|>',
        "<|tool_call>",
        "call:now",
        "<tool_call|>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
    ),
    *("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", '{"name": "now"', HERMES_CALL),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(SOUP), max_size=30), st.lists(st.integers(0, 999)))
@pytest.mark.parametrize("family", [name for name in FORMS if name != "harmony"])
def test_whatever_comes_is_told_and_nothing_is_lost(family, soup, places):
    text = "".join(soup)
    plain = vocabulary()
    events = told(plain, TEMPLATES[family], cut(text, []))
    assert told(plain, TEMPLATES[family], cut(text, places)) == events
    names = [type(event).__name__ for event in events]
    assert names.count("CallBegun") == names.count("CallEnded")
    if "CallBegun" not in names:
        assert "".join(event.text for event in events) == text
    for kind, name, *arguments in summary(events):
        if kind == "call":
            assert name in ("now", "get_weather")
            json.loads(arguments[0])


MESSAGES = (
    *("<|start|>", "assistant", "<|channel|>", "analysis", "final", "commentary", "<|message|>"),
    *(" to=functions.now", " to=python", "<|constrain|>", "json", "{}", '{"a": 1', "}", "<|end|>"),
    *("<|call|>", "<|return|>", " ", "x", "to", "="),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(MESSAGES), max_size=30), st.lists(st.integers(0, 999)))
def test_whatever_messages_come_are_told(soup, places):
    text = "".join(soup)
    plain = vocabulary()
    events = told(plain, TEMPLATES["harmony"], cut(text, []))
    assert told(plain, TEMPLATES["harmony"], cut(text, places)) == events
    names = [type(event).__name__ for event in events]
    assert names.count("CallBegun") == names.count("CallEnded")
    if "<" not in text:
        assert "".join(event.text for event in events) == text
    for kind, name, *arguments in summary(events):
        if kind == "call":
            assert (name, type(json.loads(arguments[0]))) == ("now", dict)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_call_of_what_was_not_offered_is_text(case):
    tools = [{"type": "function", "function": {"name": "other", "parameters": {}}}]
    events = told(vocabulary(), TEMPLATES[case.family], cut(case.reply, []), tools=tools)
    assert {type(event).__name__ for event in events} <= {"Text", "Thought"}
    text = "".join(event.text for event in events if type(event).__name__ == "Text")
    assert all(name in text for name in ("get_weather",) if name in case.reply)


@pytest.mark.parametrize("case", [case for case in CASES if case.control or case.shown])
def test_marks_that_are_tokens_cannot_be_spelled(case):
    tokenizer = vocabulary(case.control, case.shown)
    spelled = [TokenRecord(char, 0, 0.0) for char in case.reply.removeprefix(" to=functions.now")]
    events = told(tokenizer, TEMPLATES[case.family], spelled)
    began = [event for event in events if type(event).__name__ == "CallBegun"]
    assert not began or case.family in ("llama3", "qwen3-coder")


HOSTILE = {
    "openings": "<tool_call>" * 5000,
    "brackets": "<tool_call>{" + '"a":[' * 10000,
    "a long name": '<tool_call>{"name": "' + "n" * 60000,
    "a long header": "<tool_call>" + "n" * 60000,
    "starts of marks": "<tool_cal" * 6000,
    "escapes": '<tool_call>{"name": "now", "arguments": {"a": "' + "\\" * 60000,
    "early arguments": '<tool_call>{"arguments": {"a": "' + "x" * 60000,
    "fences": "```json\n" * 6000,
    "lists": "[" * 60000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("family", ["hermes", "qwen3-coder", "generic", "harmony"])
def test_hostile_replies_take_linear_time(name, family):
    text = HOSTILE[name]
    template = TEMPLATES[family]
    if family == "harmony":
        text = "<|channel|>commentary to=functions.now<|message|>" + text.removeprefix(
            "<tool_call>"
        )

    def seconds(n):
        gc.disable()  # it would go through all that other tests have left
        start = time.process_time()
        told(vocabulary(), template, [TokenRecord(text[i : i + 3], 0, 0.0) for i in range(0, n, 3)])
        gc.enable()
        return time.process_time() - start

    assert seconds(len(text)) < 20 * max(seconds(len(text) // 4), 0.02)


def test_no_mark_is_found_within_another():
    """It may begin one: the longer is waited for. Within one, how a text is cut would matter."""
    for form in FORMS.values():
        marks = {*form.marks, *MARKS}
        assert not [
            (mark, other)
            for mark in marks
            for other in marks
            if mark != other and mark in other and not other.startswith(mark)
        ]


def test_every_family_has_its_cases_and_its_writing():
    assert FORMS.keys() == WRITTEN.keys() == TEMPLATES.keys()
    assert {case.family for case in CASES} == FORMS.keys()
