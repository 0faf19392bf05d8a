"""Thoughts before an answer: told apart by the marks of many models, dimmed, folded, left out."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrt.cli.thinking import Thoughts, template_vars, thoughts_of
from qrt.errors import InputError

REPLIES = {
    "<think>\nHm < x.\n</think>\n\nYes.": ("\nHm < x.\n", "Yes."),
    "<think>\n\n</think>\n\nYes.": ("\n\n", "Yes."),
    "\n<thought>a</thought>b": ("a", "b"),
    "<|channel>thought\na<channel|>b": ("a", "b"),
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b": (
        *("a", "b"),
    ),
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>c"
    "<|end|><|start|>assistant<|channel|>final<|message|>b": ("ac", "b"),
    "<|channel|>final<|message|>b": ("", "b"),
    "<think>cut sho": ("cut sho", ""),
    "<think>cut </thi": ("cut </thi", ""),
    "  An answer with <think> in it.</think>": ("", "  An answer with <think> in it.</think>"),
    "<thin": ("", "<thin"),
    "\n\n": ("", "\n\n"),
}


def told(pieces, by_token=(), *, are_open=False):
    """(thoughts, answer) of pieces, texts or (text, token)."""
    thoughts = Thoughts(dict(by_token), are_open=are_open)
    parts = []
    for piece in pieces:
        parts += thoughts.push(*(piece if isinstance(piece, tuple) else (piece, None)))
    parts += thoughts.flush()
    return tuple("".join(p.text for p in parts if p.is_thought is kind) for kind in (True, False))


@pytest.mark.parametrize("reply", REPLIES)
def test_thoughts_are_told_from_the_answer_however_it_is_cut(reply):
    assert told([reply]) == REPLIES[reply]
    assert told(list(reply)) == REPLIES[reply]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "th", "ink>", " ", "\n", "a"])))
def test_nothing_but_marks_is_lost(pieces):
    text = "".join(pieces)
    assert told(pieces) == told([text]) == told(list(text))
    kept = re.sub(r"</?think>|\s", "", "".join(told(pieces)))
    assert kept == re.sub(r"</?think>|\s", "", text)


def test_marks_may_be_control_tokens_or_stand_in_the_prompt():
    marks = {7: "[THINK]", 8: "[/THINK]", 9: "</think>"}
    assert told([("", 7), ("a", 1), ("", 8), ("b", 1)], marks) == ("a", "b")
    assert told([("a", 1), ("</think>", 9), ("\n\nb", 1)], marks, are_open=True) == ("a", "b")


class Model:
    """What a model tells of its marks."""

    info = SimpleNamespace(name="toy")

    def __init__(self, template="", tail=""):
        self.metadata = {"tokenizer.chat_template": template}
        self.tail = tail

    def tokenize(self, text, **_):
        return [7] if text == "<think>" else [1, 2]

    def detokenize(self, _, special):
        assert special
        return self.tail


@pytest.mark.parametrize(
    ("tail", "thoughts"),
    [("<|im_start|>assistant\n<think>\n", "x"), ("<think>\n\n</think>\n\n", ""), ("hi", "")],
)
def test_a_prompt_may_end_within_thoughts(tail, thoughts):
    parts = thoughts_of(Model(tail=tail), [1, 2]).push("x", 3)
    assert "".join(p.text for p in parts if p.is_thought) == thoughts


@pytest.mark.parametrize(
    ("template", "on", "off"),
    [
        (
            "{% if enable_thinking is defined and not enable_thinking %}",
            *({"enable_thinking": True}, {"enable_thinking": False}),
        ),
        ("{% if thinking %}", {"thinking": True}, {"thinking": False}),
        (
            "{{ reasoning_effort }}{{ message.thinking }}",
            *({"reasoning_effort": "high"}, {"reasoning_effort": "low"}),
        ),
    ],
)
def test_templates_are_told_whether_to_think(template, on, off):
    model = Model(template)
    assert template_vars(model, True) == on
    assert template_vars(model, False) == off
    assert template_vars(model, None) == {}
    assert template_vars(Model(), True, template) == on


def test_a_template_without_a_switch_is_an_error():
    with pytest.raises(InputError, match=r"toy has no switch for thinking.*no-think out"):
        template_vars(Model("{{ messages[0].thinking }}"), False)
