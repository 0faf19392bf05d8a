"""Thoughts before an answer: told apart by the marks of many models, and asked for or not."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replies import vocabulary

from qrt.cli.chat.respondent import _asking
from qrt.errors import InputError
from qrt.replies import Text, Thought, plain_reader, reader_of, template_vars

REPLIES = {
    "<think>\nHm < x.\n</think>\n\nYes.": ("\nHm < x.\n", "Yes."),
    "<think>\n\n</think>\n\nYes.": ("\n\n", "Yes."),
    "\n<thought>a</thought>b": ("a", "b"),
    "<|channel>thought\na<channel|>b": ("a", "b"),
    "<|channel>thou<channel|>b": ("thou", "b"),
    "<think>cut sho": ("cut sho", ""),
    "<think>cut </thi": ("cut </thi", ""),
    "  An answer with <think> in it.</think>": ("", "  An answer with <think> in it.</think>"),
    "<thin": ("", "<thin"),
    "\n\n": ("", "\n\n"),
}
HARMONY = "<|start|><|channel|><|message|>"
MESSAGES = {
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b": (
        *("a", "b"),
    ),
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>c"
    "<|end|><|start|>assistant<|channel|>final<|message|>b": ("ac", "b"),
    "<|channel|>final<|message|>b": ("", "b"),
    "today": ("", "today"),
    " to": ("", " to"),
    "<|channel|>anal": ("", ""),
}


def told(pieces, reader=None):
    """(thoughts, answer) of pieces, texts or (text, token)."""
    reader = reader or plain_reader()
    events = []
    for piece in pieces:
        events += reader.read(*(piece if isinstance(piece, tuple) else (piece, None)))
    events += reader.flush()
    return tuple(
        "".join(event.text for event in events if isinstance(event, kind))
        for kind in (Thought, Text)
    )


@pytest.mark.parametrize("reply", REPLIES)
def test_thoughts_are_told_from_the_answer_however_it_is_cut(reply):
    assert told([reply]) == REPLIES[reply]
    assert told(list(reply)) == REPLIES[reply]


@pytest.mark.parametrize("reply", MESSAGES)
def test_messages_are_told_apart_however_they_are_cut(reply):
    tokenizer = vocabulary()
    assert told([reply], reader_of(tokenizer, HARMONY, [])) == MESSAGES[reply]
    assert told(list(reply), reader_of(tokenizer, HARMONY, [])) == MESSAGES[reply]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "th", "ink>", " ", "\n", "a"])))
def test_nothing_but_marks_is_lost(pieces):
    text = "".join(pieces)
    assert told(pieces) == told([text]) == told(list(text))
    kept = re.sub(r"</?think>|\s", "", "".join(told(pieces)))
    assert kept == re.sub(r"</?think>|\s", "", text)


def test_marks_that_are_tokens_count_as_tokens_alone():
    tokenizer = vocabulary(control=("[THINK]", "[/THINK]"), shown=("<think>", "</think>"))
    begin, end = tokenizer.find("[THINK]"), tokenizer.find("[/THINK]")
    pieces = [("", begin), ("a", 64), ("", end), ("b", 65)]
    assert told(pieces, reader_of(tokenizer, "", [])) == ("a", "b")
    shown = [("<think>", tokenizer.find("<think>")), *"a</think>", ("</think>", end - 2)]
    assert told([*shown, "b"], reader_of(tokenizer, "", [])) == ("a</think>", "b")
    assert told(["<think>", "a</think>b"], reader_of(tokenizer, "", [])) == (
        *("", "<think>a</think>b"),
    )


def test_a_mark_stands_where_its_token_does_though_text_comes_late():
    """As it does while it may be the start of a stop string."""
    tokenizer = vocabulary(shown=("<think>", "</think>"))
    a, b = tokenizer.tokenize("ab", add_special=False)
    begin, end = tokenizer.find("<think>"), tokenizer.find("</think>")
    pieces = [("<thi", begin), ("", a), ("nk>", end), ("a", b), ("</think>b", b)]
    assert told(pieces, reader_of(tokenizer, "", [])) == ("a", "b")
    half = tokenizer.tokenize("é", add_special=False)
    pieces = [("<think>", begin), ("", half[0]), ("é", half[0]), ("", half[1]), ("</think>", end)]
    assert told([*pieces, ("b", b)], reader_of(tokenizer, "", [])) == ("é", "b")


@pytest.mark.parametrize(
    ("tail", "thoughts"),
    [
        ("<|im_start|>assistant\n<think>\n", "x"),
        ("<think>\n\n</think>\n\n", ""),
        ("<|channel>thought\n", "x"),
        ("hi", ""),
    ],
)
@pytest.mark.parametrize("shown", [(), ("<think>", "</think>", "<|channel>")])
def test_a_prompt_may_end_within_thoughts(tail, thoughts, shown):
    tokenizer = vocabulary(shown=shown)
    prompt = tokenizer.tokenize(tail, add_special=False, parse_special=True)
    assert told(["x"], reader_of(tokenizer, "", prompt))[0] == thoughts


def test_what_a_prompt_only_spells_opens_no_thoughts():
    tokenizer = vocabulary(control=("<think>", "</think>"))
    prompt = tokenizer.tokenize("<think>", add_special=False)
    assert told(["x"], reader_of(tokenizer, "", prompt)) == ("", "x")


def test_a_prompt_may_begin_a_message():
    tokenizer = vocabulary(shown=("<|start|>", "<|channel|>", "<|message|>", "<|end|>"))
    for tail, parts in {"analysis": ("x", ""), "final": ("", "x")}.items():
        text = f"<|message|>hi<|end|><|start|>assistant<|channel|>{tail}<|message|>"
        prompt = tokenizer.tokenize(text, add_special=False, parse_special=True)
        assert told(["x"], reader_of(tokenizer, HARMONY, prompt)) == parts


@pytest.mark.parametrize(
    ("template", "on", "off", "minimal"),
    [
        (
            "{% if enable_thinking is defined and not enable_thinking %}",
            *({"enable_thinking": True}, {"enable_thinking": False}, {"enable_thinking": False}),
        ),
        ("{% if thinking %}", {"thinking": True}, {"thinking": False}, {"thinking": False}),
        (
            "{{ reasoning_effort }}{{ message.thinking }}",
            {"reasoning_effort": "high"},
            *[{"reasoning_effort": "low"}] * 2,
        ),
    ],
)
def test_templates_are_told_whether_to_think(template, on, off, minimal):
    assert template_vars(template, True) == on
    assert template_vars(template, False) == off
    assert template_vars(template) == {}
    assert template_vars(template, reasoning_effort="minimal") == minimal
    medium = {name: {"high": "medium"}.get(value, value) for name, value in on.items()}
    assert template_vars(template, reasoning_effort="medium") == medium


def test_a_template_without_a_switch_is_an_error():
    model = SimpleNamespace(
        info=SimpleNamespace(name="toy"),
        chat_template=SimpleNamespace(source="{{ messages[0].thinking }}"),
    )
    with pytest.raises(InputError, match=r"toy has no switch for thinking.*no-think out"):
        _asking(model, False)
    assert _asking(model, None) == {}
