"""Thoughts that end when they have used up their tokens, in Python and over HTTP."""

from __future__ import annotations

import pytest
from replies import records_of, vocabulary
from served import NAME, served

import qrt
from qrt.api.thinking import pace_of
from qrt.replies import call_grammar
from qrt.server.models import OneModel

BUDGET = 6
TEMPLATE = "{{ tools }}{{ messages[0].content }}<think>"
ASK = [{"role": "user", "content": "def f("}]
HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|constrain|>")
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.fixture(scope="module")
def thinker():
    with qrt.load(chat_template=TEMPLATE) as model:
        yield model


def say(tokenizer, template, prompt, said, budget, inner=None, *, must_call=False):
    """What becomes of a reply whose model says `said`: with what is forced, in its places."""
    ids = [3, *tokenizer.tokenize(prompt, add_special=False, parse_special=True)]
    pace = pace_of(tokenizer, template, ids, budget, must_call=must_call)
    paced, tokens = pace(inner), []

    def force():
        while forced := paced.forced():
            for token in forced:
                paced.accept(token)
                tokens.append(token)

    force()
    for record in records_of(tokenizer, said):
        paced.accept(record.token)
        tokens.append(record.token)
        force()
    return tokenizer.detokenize(tokens, special=True)


@pytest.mark.parametrize(
    ("marks", "template", "prompt", "said", "expected"),
    [
        (("<think>", "</think>", "<u>"), "<think>", "<u><think>", "abcd", "abc</think>d"),
        (("<think>", "</think>", "<u>"), "<think>", "<u>", "<think>abcd", "<think>abc</think>d"),
        (("<think>", "</think>", "<u>"), "<think>", "<u>", "abcd", "abcd"),
        (
            ("<think>", "</think>", "<u>"),
            "<think>",
            "<u>",
            "<think>a</think>bcd",
            "<think>a</think>bcd",
        ),
        ((), "<think>", "x<think>\n", "abcd", "abc</think>d"),
        ((), "<think>", "x<think>\n", "aa䂰d", "aa䂰</think>d"),
        (
            HARMONY,
            "<|channel|>",
            "<|start|>assistant",
            "<|channel|>analysis<|message|>abcd",
            f"<|channel|>analysis<|message|>abc{FINAL}d",
        ),
        (
            HARMONY,
            "<|channel|>",
            "<|start|>assistant",
            "<|channel|>commentary to=functions.f<|message|>{}",
            "<|channel|>commentary to=functions.f<|message|>{}",
        ),
    ],
)
def test_where_thoughts_are_ended(marks, template, prompt, said, expected):
    assert say(vocabulary(marks), template, prompt, said, 3) == expected


def test_a_call_that_must_come_follows():
    pytest.importorskip("llguidance")
    from qrt.structure.grammars import Grammars

    tokenizer, template = vocabulary(HARMONY), "{{ tools }}<|channel|>"
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    grammar = call_grammar(tokenizer, template, [], tools, "f")
    inner = Grammars(lambda: tokenizer).constraint(grammar)
    begun, letters = "<|channel|>analysis<|message|>abc", "aabc"  # the grammar forces the rest
    said = say(tokenizer, template, "<|start|>assistant", letters, 3, inner, must_call=True)
    call = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"
    assert said == f"{begun}<|end|><|start|>assistant{call}"


@pytest.mark.parametrize("budget", [0, BUDGET])
def test_a_chat_thinks_no_longer(thinker, budget):
    options = {"max_tokens": 40, "ignore_eos": True, "seed": 5}
    free = thinker.chat(ASK, **options)
    assert (free.content, free.tokens) == ("", thinker.chat(ASK, **options).tokens)
    done = thinker.chat(ASK, thinking_budget=budget, **options)
    close = thinker.tokenize("</think>", add_special=False)
    assert done.tokens[: budget + len(close)] == (*free.tokens[:budget], *close)
    assert done.text.removeprefix(done.reasoning).startswith("</think>")
    assert done.content
    schema = {"enum": ["yes"]}
    pytest.importorskip("llguidance")
    held = thinker.chat(ASK, thinking_budget=budget, response_format=schema, **options)
    assert (held.content, held.parsed) == ('"yes"', "yes")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": BUDGET}}),
        ("/v1/chat/completions", {"thinking_budget_tokens": BUDGET}),
        ("/v1/chat/completions", {"reasoning_budget_tokens": BUDGET}),
    ],
)
def test_a_request_has_a_budget(thinker, path, fields):
    asked = {"messages": ASK, "max_tokens": 40}
    options = {"seed": 5, "ignore_eos": True}
    with served(models=OneModel(NAME, thinker, options=options)) as server:
        for budget in ({}, fields):
            reply = server.ask(path, {**asked, **budget}).json
            if "choices" in reply:
                message = reply["choices"][0]["message"]
                thought, text = message["reasoning_content"], message["content"]
                n_thought = reply["usage"]["completion_tokens_details"]["reasoning_tokens"]
                assert (n_thought == BUDGET) is bool(budget)
            else:
                kinds = {block["type"]: block for block in reply["content"]}
                thought, text = kinds["thinking"]["thinking"], kinds.get("text")
            assert bool(text) is bool(budget)
            assert thought


def test_a_budget_that_is_none(thinker):
    with pytest.raises(qrt.InputError, match="thinking_budget"):
        thinker.chat(ASK, thinking_budget=-1)
